#include "tests/support/cifar_files.h"

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

}  // namespace diffq
