#include "tests/support/idx_files.h"

#include <stdlib.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <stdexcept>

namespace diffq {

std::vector<uint8_t> patterned_pictures(const IdxSetSpec& spec, int64_t count, uint64_t seed) {
  const int64_t channels = std::max<int64_t>(spec.channels, 1);
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes;
  bytes.reserve(count * channels * spec.height * spec.width);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < channels; ++c) {
      // An odd factor: another pattern of 16 cells for each class and channel.
      const uint64_t pattern = (static_cast<uint64_t>(i % spec.classes * channels + c) + 1) * 40503;
      for (int64_t y = 0; y < spec.height; ++y) {
        for (int64_t x = 0; x < spec.width; ++x) {
          const int64_t cell = 4 * (4 * y / spec.height) + 4 * x / spec.width;
          const int64_t light = (pattern >> cell & 1) != 0 ? 190 : 65;
          const auto noise = static_cast<int64_t>(random() % (2 * spec.noise + 1)) - spec.noise;
          bytes.push_back(static_cast<uint8_t>(std::clamp<int64_t>(light + noise, 0, 255)));
        }
      }
    }
  }
  return bytes;
}

namespace {

void write_part(const std::filesystem::path& folder, const std::string& part, const IdxSetSpec& spec,
                int64_t count, uint64_t seed) {
  const std::string ending = spec.gzip ? "-ubyte.gz" : "-ubyte";
  std::vector<int64_t> dims{count, spec.height, spec.width};
  if (spec.channels != 0) dims.insert(dims.begin() + 1, spec.channels);
  write_idx_file(folder / (part + "-images-idx" + std::to_string(dims.size()) + ending), dims,
                 patterned_pictures(spec, count, seed), spec.gzip);
  std::vector<uint8_t> labels(count);
  for (int64_t i = 0; i < count; ++i) labels[i] = static_cast<uint8_t>(i % spec.classes);
  write_idx_file(folder / (part + "-labels-idx1" + ending), {count}, labels, spec.gzip);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "diffq-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error(name + ": can't be made");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_idx_set(const std::filesystem::path& folder, const IdxSetSpec& spec) {
  std::filesystem::create_directories(folder);
  write_part(folder, "train", spec, spec.train, 2 * spec.seed);
  write_part(folder, "t10k", spec, spec.test, 2 * spec.seed + 1);
}

void write_idx_file(const std::filesystem::path& file, const std::vector<int64_t>& dims,
                    std::span<const uint8_t> bytes, bool gzip) {
  std::vector<uint8_t> content{0, 0, 8, static_cast<uint8_t>(dims.size())};
  for (const int64_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) content.push_back(static_cast<uint8_t>(dim >> shift));
  }
  content.insert(content.end(), bytes.begin(), bytes.end());
  write_bytes(file, content, gzip);
}

void write_bytes(const std::filesystem::path& file, std::span<const uint8_t> bytes, bool gzip) {
  bool written = false;
  if (gzip) {
    gzFile out = gzopen(file.c_str(), "wb1");
    written = out != nullptr && gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())) ==
                                    static_cast<int>(bytes.size());
    written = out != nullptr && gzclose(out) == Z_OK && written;
  } else {
    std::ofstream out(file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    out.close();
    written = !out.fail();
  }
  if (!written) throw std::runtime_error(file.string() + ": can't be written");
}

}  // namespace diffq
