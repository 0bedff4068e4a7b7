#include "datasets/fingerprint.h"

#include <xxhash.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace diffq {
namespace {

constexpr uint64_t kWholeBytes = uint64_t{1} << 20;
constexpr uint64_t kEndBytes = uint64_t{1} << 16;

std::string hex16(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

uint64_t content_sum(const std::string& path, uint64_t size) {
  std::vector<char> bytes(size <= kWholeBytes ? size : 2 * kEndBytes);
  std::ifstream file(path, std::ios::binary);
  if (size <= kWholeBytes) {
    file.read(bytes.data(), static_cast<std::streamsize>(size));
  } else {
    file.read(bytes.data(), kEndBytes);
    file.seekg(static_cast<std::streamoff>(size - kEndBytes));
    file.read(bytes.data() + kEndBytes, kEndBytes);
  }
  if (!file) throw std::invalid_argument(path + ": can't be read; check its permissions");
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string line_of(const std::string& name, uint64_t size, uint64_t sum) {
  return name + '\n' + std::to_string(size) + '\n' + hex16(sum) + '\n';
}

}  // namespace

std::string fingerprint_files(std::span<const std::string> paths) {
  std::string text;
  for (const std::string& path : paths) {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(path, error);
    if (error) throw std::invalid_argument(path + ": can't be read (" + error.message() + ")");
    text += line_of(std::filesystem::path(path).filename().string(), size, content_sum(path, size));
  }
  return fingerprint_text(text);
}

std::string fingerprint_contents(std::span<const NamedBytes> files) {
  std::string text;
  for (const auto& [name, bytes] : files) {
    std::vector<uint8_t> summed(bytes.begin(), bytes.end());
    if (bytes.size() > kWholeBytes) summed.erase(summed.begin() + kEndBytes, summed.end() - kEndBytes);
    text += line_of(name, bytes.size(), XXH3_64bits(summed.data(), summed.size()));
  }
  return fingerprint_text(text);
}

std::string fingerprint_text(const std::string& text) { return hex16(XXH3_64bits(text.data(), text.size())); }

}  // namespace diffq
