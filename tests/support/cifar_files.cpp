#include "tests/support/cifar_files.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>

namespace diffq {
namespace {

constexpr int64_t kPixels = 3 * 32 * 32;

void write_records(const std::filesystem::path& file, const CifarSetSpec& spec, int64_t count, bool coarse,
                   uint64_t seed) {
  const IdxSetSpec form{.height = 32, .width = 32, .channels = 3, .classes = spec.classes};
  const std::vector<uint8_t> pictures = patterned_pictures(form, count, seed);
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<uint8_t>(i % spec.classes);
    if (coarse) bytes.push_back(label / 5);
    bytes.push_back(label);
    bytes.insert(bytes.end(), pictures.begin() + i * kPixels, pictures.begin() + (i + 1) * kPixels);
  }
  write_bytes(file, bytes);
}

// A member of a tar archive (POSIX ustar): 512 bytes of header, the content filled up to a multiple of 512.
void append_member(const std::string& name, const std::vector<uint8_t>& content,
                   std::vector<uint8_t>& bytes) {
  std::array<char, 512> header{};
  name.copy(header.data(), 99);
  const auto put = [&](size_t at, const char* text) { std::string(text).copy(header.data() + at, 100); };
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  std::snprintf(header.data() + 124, 12, "%011o", static_cast<unsigned>(content.size()));
  put(136, "00000000000");
  put(148, "        ");  // the sum is taken with blanks in its place
  put(156, "0");
  put(257, "ustar");
  put(263, "00");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<uint8_t>(c);
  std::snprintf(header.data() + 148, 8, "%06o", sum);
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.insert(bytes.end(), content.begin(), content.end());
  bytes.resize((bytes.size() + 511) / 512 * 512);
}

}  // namespace

void write_cifar10(const std::filesystem::path& folder, const CifarSetSpec& spec) {
  std::filesystem::create_directories(folder);
  for (uint64_t k = 1; k <= 5; ++k) {
    write_records(folder / ("data_batch_" + std::to_string(k) + ".bin"), spec, spec.records, false,
                  10 * spec.seed + k);
  }
  write_records(folder / "test_batch.bin", spec, spec.test, false, 10 * spec.seed);
}

void write_cifar100(const std::filesystem::path& folder, const CifarSetSpec& spec) {
  std::filesystem::create_directories(folder);
  write_records(folder / "train.bin", spec, spec.records, true, 10 * spec.seed + 1);
  write_records(folder / "test.bin", spec, spec.test, true, 10 * spec.seed);
}

void write_archive(const std::filesystem::path& folder, const std::filesystem::path& archive) {
  std::map<std::string, std::vector<uint8_t>, std::greater<>> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path().filename().string()].assign(std::istreambuf_iterator<char>(file), {});
  }
  std::vector<uint8_t> bytes;
  for (const auto& [name, content] : files)
    append_member(folder.filename().string() + '/' + name, content, bytes);
  bytes.resize(bytes.size() + 1024);  // two empty blocks end an archive
  write_bytes(archive, bytes, archive.extension() == ".gz");
}

}  // namespace diffq
