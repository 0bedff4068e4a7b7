// Writes the fuzzer's first inputs, small files of every kind, into a folder: make_corpus FOLDER. The
// corpus in the repository was made by it; the other files there were found by fuzzing.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <random>

#include "quant/packed_model.h"

namespace diffq {
namespace {

template <class Value>
std::span<const uint8_t> bytes_of(const std::vector<Value>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(Value)};
}

/// Files of one grid and coding in a folder.
class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {}

  enum class Weights { spread, skewed, constant };

  /// Width 0 draws a width for every group, mostly 3.
  void add(PackedModelWriter& writer, LevelGrid grid, Coding coding, const std::string& name, int64_t numel,
           int64_t group_size, int width, Weights kind) {
    const TensorLayout layout{numel, group_size == 0 ? numel : std::min(group_size, numel), grid};
    std::vector<float> weights(static_cast<size_t>(numel));
    for (float& weight : weights) {
      const bool is_spread = kind == Weights::spread || (kind == Weights::skewed && random_() % 16 == 0);
      weight = is_spread ? static_cast<float>(random_() % 2001) / 1000 - 1 : 0.25f;
    }
    std::vector<uint8_t> bits(static_cast<size_t>(layout.groups()), static_cast<uint8_t>(width));
    for (uint8_t& b : bits) {
      if (width == 0) b = static_cast<uint8_t>(random_() % 8 == 0 ? 1 + random_() % 15 : 3);
    }
    const auto [least, most] = std::ranges::minmax_element(weights);
    const bool range = grid == LevelGrid::range;
    const Extremes ends = range ? Extremes{*least, *most} : Extremes{0.125f, 0};
    writer.add_packed(name, {numel}, group_size,
                      pack_tensor({layout, weights.data(), bits, {&ends, 1}}, coding));
  }

  /// One packed tensor.
  void write_one(const std::string& name, LevelGrid grid, Coding coding, int64_t numel, int64_t group_size,
                 int width, Weights kind) {
    PackedModelWriter writer(grid, coding, "{}");
    add(writer, grid, coding, "w", numel, group_size, width, kind);
    writer.write(folder_ / name);
  }

  /// One packed tensor of channels with ends of their own, some groups without a bit.
  void write_channels(const std::string& name, Coding coding, int64_t channels, int64_t length,
                      int64_t group_size) {
    const TensorLayout layout{channels * length, group_size, LevelGrid::range, channels};
    std::vector<float> weights(static_cast<size_t>(layout.numel));
    for (float& weight : weights) weight = static_cast<float>(random_() % 2001) / 1000 - 1;
    std::vector<uint8_t> bits(static_cast<size_t>(layout.groups()));
    for (uint8_t& b : bits) b = static_cast<uint8_t>(random_() % 5);
    const std::vector<Extremes> ends(static_cast<size_t>(channels), {-0.75f, 1});
    PackedModelWriter writer(LevelGrid::range, coding, "{}");
    writer.add_packed("w", {channels, length}, group_size,
                      pack_tensor({layout, weights.data(), bits, ends}, coding), channels);
    writer.write(folder_ / name);
  }

  /// Everything that a model may have.
  void write_model(const std::string& name, LevelGrid grid, Coding coding) {
    const std::vector<int64_t> steps{1000};
    const std::vector<uint16_t> halves{0x3c00, 0x8001, 0x7bff};
    const std::vector<float> means{0.5f, -1};
    PackedModelWriter writer(grid, coding, R"({"method":{"method":"diffq","lambda":1},"seed":1})");
    add(writer, grid, coding, "a", 60, 7, 0, Weights::skewed);
    add(writer, grid, coding, "b", 1, 0, 5, Weights::spread);
    add(writer, grid, coding, "c", 9, 16, 12, Weights::spread);
    writer.add_plain("bias", "F16", {3}, bytes_of(halves));
    writer.add_plain("mean", "F32", {2, 1}, bytes_of(means));
    writer.add_plain("steps", "I64", {}, bytes_of(steps));
    writer.add_alias("tied", "a");
    writer.write(folder_ / name);
  }

  void write_plain(const std::string& name) {
    const std::vector<uint8_t> bytes{0, 0, 0x80, 0x3f, 1, 0x7c, 0xff, 0xff};
    std::vector<TensorToWrite> tensors;
    for (const char* dtype : {"F64", "I64", "F32", "F16", "BF16", "U8", "BOOL"})
      tensors.push_back({dtype, dtype, {8 / bytes_of_dtype(dtype)}, 8, [&] { return bytes_of(bytes); }});
    tensors.push_back({"none", "F32", {0, 3}, 0, [] { return std::span<const uint8_t>(); }});
    write_safetensors(folder_ / name, {{"format", "pt"}}, tensors);
  }

 private:
  std::filesystem::path folder_;
  std::mt19937 random_{1};
};

void write_all(const std::filesystem::path& folder) {
  using enum LevelGrid;
  using enum Coding;
  using enum Corpus::Weights;
  std::filesystem::create_directories(folder);
  Corpus corpus(folder);
  corpus.write_model("model_range_bits", range, bits);
  corpus.write_model("model_scale_bits", scale, bits);
  corpus.write_model("model_range_zstd", range, zstd);
  corpus.write_model("model_scale_zstd", scale, zstd);
  corpus.write_one("one_group", range, bits, 100, 0, 4, spread);
  corpus.write_one("groups_of_8", range, bits, 301, 8, 0, spread);
  corpus.write_one("groups_of_1", scale, bits, 50, 1, 0, spread);
  corpus.write_one("several_chunks", range, zstd, 9000, 4096, 2, skewed);
  corpus.write_one("constant", range, bits, 33, 4, 0, constant);
  corpus.write_one("zstd_falls_back", range, zstd, 200, 5, 7, spread);
  corpus.write_one("zstd_narrow", range, zstd, 2000, 100, 3, skewed);
  corpus.write_one("zstd_wide", scale, zstd, 500, 3, 11, skewed);
  corpus.write_one("zstd_table", range, zstd, 900, 2, 0, skewed);
  corpus.write_channels("channels_bits", bits, 5, 21, 8);
  corpus.write_channels("channels_zstd", zstd, 3, 40, 1);
  corpus.write_plain("plain");
}

}  // namespace
}  // namespace diffq

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_corpus FOLDER\n";
    return 2;
  }
  diffq::write_all(argv[1]);
}
