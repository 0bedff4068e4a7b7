// Packed model files there and back, plain safetensors files, and files with damage anywhere.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "quant/packed_model.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

template <class Value>
std::span<const uint8_t> bytes_of(const std::vector<Value>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(Value)};
}

std::vector<uint8_t> content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> values_of(const PackedModel& model, const ModelTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.numel));
  model.unpack(tensor, values.data());
  return values;
}

/// What is wrong with the bytes as a model file; other errors than DamagedFile pass through and fail the
/// test.
std::string error_of(std::vector<uint8_t> bytes) {
  try {
    PackedModel(parse_safetensors(std::move(bytes)));
  } catch (const DamagedFile& error) {
    return error.what();
  }
  return "no error";
}

/// A model with a bit of everything, and what must be read of it.
struct SampleModel {
  SampleModel(LevelGrid grid, Coding coding) : writer(grid, coding, config) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 1);
    for (float& x : mixed) x = normal(random);
    for (size_t i = 0; i < single.size(); ++i) single[i] = i == 3 ? 5.0f : normal(random);
    mixed_bytes = pack(grid, coding, {90, 4, grid}, mixed, mixed_bits);
    single_bytes = pack(grid, coding, {17, 17, grid}, single, single_bits);
    writer.add_plain("bn.steps", "I64", {}, bytes_of(steps));
    writer.add_packed("conv.weight", {6, 5, 3}, 4, mixed_bytes);
    writer.add_plain("conv.bias", "F16", {3}, bytes_of(halves));
    writer.add_packed("fc.weight", {17}, 0, single_bytes);
    writer.add_plain("fc.bias", "F32", {2, 1}, bytes_of(floats));
    writer.add_alias("tied.weight", "conv.weight");
  }

  static std::vector<uint8_t> pack(LevelGrid grid, Coding coding, const TensorLayout& layout,
                                   const std::vector<float>& weights, const std::vector<uint8_t>& bits) {
    const auto [least, most] = std::ranges::minmax_element(weights);
    const bool range = grid == LevelGrid::range;
    const Extremes ends = range ? Extremes{*least, *most} : Extremes{0.25f, 0};
    return pack_tensor({layout, weights.data(), bits, {&ends, 1}}, coding);
  }

  std::vector<float> mixed = std::vector<float>(90), single = std::vector<float>(17);
  std::vector<uint8_t> mixed_bits{2, 3, 2, 2, 15, 2, 3, 3, 2, 8, 9, 2, 2, 2, 3, 2, 2, 2, 3, 2, 2, 2, 4},
      single_bits{6};
  std::vector<int64_t> steps{77};
  std::vector<uint16_t> halves{0x3c00, 0xc000, 0x3555};
  std::vector<float> floats{1.5f, -2};
  std::vector<uint8_t> mixed_bytes, single_bytes;
  std::string config = R"({"lambda":1.0,"method":"diffq"})";
  PackedModelWriter writer;
};

class PackedFile : public testing::Test {
 protected:
  std::filesystem::path written(const SampleModel& model) const {
    model.writer.write(path_);
    return path_;
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "model.safetensors";
};

TEST_F(PackedFile, ComesBackWhole) {
  for (const LevelGrid grid : {LevelGrid::range, LevelGrid::scale}) {
    for (const Coding coding : {Coding::bits, Coding::zstd}) {
      const SampleModel sample(grid, coding);
      const PackedModel model = PackedModel::read(written(sample));
      EXPECT_TRUE(model.is_packed());
      EXPECT_EQ(model.grid(), grid);
      EXPECT_EQ(model.coding(), coding);
      EXPECT_EQ(model.config(), sample.config);
      EXPECT_EQ(model.file_bytes(), static_cast<int64_t>(std::filesystem::file_size(path_)));
      EXPECT_EQ(model.file_bytes(), sample.writer.file_bytes());
      EXPECT_EQ(model.aliases(), (std::map<std::string, std::string>{{"tied.weight", "conv.weight"}}));

      std::vector<std::string> names, dtypes;
      std::vector<std::vector<int64_t>> shapes;
      int64_t bytes = model.header_bytes();
      for (const ModelTensor& tensor : model.tensors()) {
        names.push_back(tensor.name);
        dtypes.push_back(tensor.dtype);
        shapes.push_back(tensor.shape);
        EXPECT_EQ(tensor.packed, tensor.name.ends_with("weight"));
        EXPECT_EQ(PackedModel::has_values(tensor), tensor.name != "bn.steps");
        bytes += static_cast<int64_t>(tensor.bytes.size());
      }
      EXPECT_EQ(names,
                (std::vector<std::string>{"bn.steps", "fc.bias", "conv.bias", "conv.weight", "fc.weight"}))
          << "types of more bytes first";
      EXPECT_EQ(dtypes, (std::vector<std::string>{"I64", "F32", "F16", "U8", "U8"}));
      EXPECT_EQ(shapes, (std::vector<std::vector<int64_t>>{{}, {2, 1}, {3}, {6, 5, 3}, {17}}));
      EXPECT_EQ(bytes, model.file_bytes()) << "nothing but header and tensors";

      const ModelTensor& conv = *model.find("conv.weight");
      EXPECT_EQ(model.find("tied.weight"), &conv);
      EXPECT_EQ(model.find("conv"), nullptr);
      EXPECT_EQ(conv.layout.group_size, 4);
      EXPECT_EQ(model.find("fc.weight")->layout.group_size, 17);
      EXPECT_EQ(model.bits(conv), sample.mixed_bits);
      EXPECT_EQ(model.bits(*model.find("fc.weight")), sample.single_bits);
      std::vector<float> expected(90);
      unpack_tensor({90, 4, grid}, coding, sample.mixed_bytes, expected.data());
      EXPECT_EQ(values_of(model, conv), expected);
      EXPECT_EQ(values_of(model, *model.find("fc.bias")), sample.floats);
      EXPECT_EQ(values_of(model, *model.find("conv.bias")), (std::vector<float>{1, -2, 0x1.554p-2f}));
      const ModelTensor& steps = *model.find("bn.steps");
      EXPECT_TRUE(std::ranges::equal(steps.bytes, bytes_of(sample.steps)));
      EXPECT_THROW(values_of(model, steps), DamagedFile);
    }
  }
}

/// A group_size of more than the tensor has is that of one group.
TEST_F(PackedFile, GroupsAreNoLargerThanTheirTensor) {
  PackedModelWriter writer(LevelGrid::scale, Coding::bits, "{}");
  const std::vector<float> weights{1, 2, 3};
  writer.add_packed(
      "w", {3}, 8, SampleModel::pack(LevelGrid::scale, Coding::bits, {3, 3, LevelGrid::scale}, weights, {6}));
  writer.write(path_);
  const PackedModel model = PackedModel::read(path_);
  EXPECT_EQ(model.find("w")->layout.group_size, 3);
  EXPECT_EQ(values_of(model, *model.find("w")), weights);
}

TEST_F(PackedFile, ChannelsThatCantBeAreRefused) {
  for (const auto& [grid, channels, refused] :
       {std::tuple{LevelGrid::range, 3, false}, {LevelGrid::range, 4, true}, {LevelGrid::scale, 3, true}}) {
    PackedModelWriter writer(grid, Coding::bits, "{}");
    const std::vector<float> weights{0, 1, 0, 2, 0, 4};
    const std::vector<uint8_t> bits{6, 6};
    const std::vector<Extremes> ends{{0, 1}, {0, 2}, {0, 4}};
    writer.add_packed("w", {3, 2}, 3,
                      pack_tensor({{6, 3, LevelGrid::range, 3}, weights.data(), bits, ends}, Coding::bits),
                      channels);
    writer.write(path_);
    if (refused) {
      EXPECT_THROW(PackedModel::read(path_), DamagedFile) << channels;
    } else {
      const PackedModel model = PackedModel::read(path_);
      EXPECT_EQ(values_of(model, *model.find("w")), weights);
    }
  }
}

/// A reader of the first would take their bytes for something else.
TEST_F(PackedFile, NewKindsOfTensorsAreOfTheSecondFormat) {
  const std::vector<float> weights{0, 1, 0, 2};
  const std::vector<Extremes> ends{{0, 1}, {0, 2}};
  for (const auto& [channels, bits, format] :
       {std::tuple{1, 2, kPackedFormat}, {2, 2, kPackedFormat2}, {1, 0, kPackedFormat2}}) {
    const std::vector<uint8_t> table{static_cast<uint8_t>(bits), 3};
    PackedModelWriter writer(LevelGrid::range, Coding::bits, "{}");
    writer.add_packed("w", {2, 2}, 2,
                      pack_tensor({{4, 2, LevelGrid::range, channels},
                                   weights.data(),
                                   table,
                                   std::span(ends).first(static_cast<size_t>(channels))},
                                  Coding::bits),
                      channels);
    writer.write(path_);
    EXPECT_EQ(read_safetensors(path_).metadata.at("format"), format) << channels << " " << bits;
    EXPECT_TRUE(PackedModel::read(path_).is_packed());
  }
}

TEST_F(PackedFile, WhatCantBeReadIsNamed) {
  for (const auto& path : {path_, folder_.path()}) {
    try {
      PackedModel::read(path);
      FAIL() << path;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(dynamic_cast<const DamagedFile*>(&error), nullptr) << "there is no file";
      EXPECT_TRUE(std::string(error.what()).starts_with(path.string() + ": ")) << error.what();
    }
  }
  write_bytes(path_, {});
  try {
    PackedModel::read(path_);
    FAIL();
  } catch (const DamagedFile& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with(path_.string() + ": ")) << error.what();
  }
  const SampleModel sample(LevelGrid::range, Coding::bits);
  try {
    sample.writer.write(folder_.path() / "missing" / "file");
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("missing/file"), std::string::npos) << error.what();
  }
}

TEST_F(PackedFile, DamageAnywhereIsSeen) {
  for (const Coding coding : {Coding::bits, Coding::zstd}) {
    const std::vector<uint8_t> whole = content_of(written(SampleModel(LevelGrid::range, coding)));
    ASSERT_EQ(error_of(whole), "no error");
    for (size_t length = 0; length < whole.size(); ++length) {
      ASSERT_NE(error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)}), "no error")
          << "the first " << length << " bytes";
    }
    for (size_t i = 0; i < whole.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::vector<uint8_t> flipped = whole;
        flipped[i] ^= static_cast<uint8_t>(1 << bit);
        ASSERT_NE(error_of(std::move(flipped)), "no error") << "bit " << bit << " of byte " << i;
      }
    }
    std::vector<uint8_t> longer = whole;
    longer.push_back(0);
    EXPECT_NE(error_of(longer), "no error");
  }
}

/// Without the checksum's help: whatever a bit of the tensors becomes, only DamagedFile may come of it.
TEST_F(PackedFile, DamagedLevelsAreRefusedOrOtherLevels) {
  for (const Coding coding : {Coding::bits, Coding::zstd}) {
    const std::vector<uint8_t> whole = content_of(written(SampleModel(LevelGrid::range, coding)));
    const auto header = static_cast<size_t>(PackedModel::read(path_).header_bytes());
    int refused = 0, read = 0;
    for (size_t bit = 8 * header; bit < 8 * whole.size(); ++bit) {
      std::vector<uint8_t> flipped = whole;
      flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const PackedModel model(parse_safetensors(std::move(flipped)), false);
      for (const char* name : {"conv.weight", "fc.weight"}) {
        try {
          values_of(model, *model.find(name));
          ++read;
        } catch (const DamagedFile& error) {
          EXPECT_TRUE(std::string(error.what()).starts_with(name)) << error.what();
          ++refused;
        }
      }
    }
    EXPECT_GT(refused, 100) << "widths that don't fit the bytes";
    EXPECT_GT(read, 100);
  }
}

/// A binary floating-point number of so many bits, as IEEE 754 defines it.
float small_float(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
  const int most = (1 << exponent_bits) - 1, bias = most / 2;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & most;
  const float sign = bits >> (exponent_bits + mantissa_bits) != 0 ? -1.0f : 1.0f;
  if (exponent == most) return mantissa != 0 ? std::nanf("") : sign * std::numeric_limits<float>::infinity();
  const int whole = exponent != 0 ? mantissa + (1 << mantissa_bits) : mantissa;
  return sign * std::ldexp(static_cast<float>(whole), std::max(exponent, 1) - bias - mantissa_bits);
}

TEST_F(PackedFile, FloatingTypesOfPlainFilesBecomeFloat32) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const std::vector<double> doubles{1 + 0x1p-24, 1 + 0x1.8p-23, -0.0, 1e300, 0x1p-149, 0x1p-160};
  const std::vector<float> floats{1, 0x1.000004p0f, -0.0f, INFINITY, 0x1p-149f, 0};
  const std::vector<TensorToWrite> tensors{
      {"f64", "F64", {6}, 48, [&] { return bytes_of(doubles); }},
      {"f16", "F16", {256, 256}, 1 << 17, [&] { return bytes_of(all); }},
      {"bf16", "BF16", {1 << 16}, 1 << 17, [&] { return bytes_of(all); }},
      {"none", "F32", {0, 4}, 0, [] { return std::span<const uint8_t>(); }}};
  write_safetensors(path_, {{"format", "pt"}}, tensors);
  const PackedModel model = PackedModel::read(path_);
  EXPECT_FALSE(model.is_packed());
  EXPECT_EQ(model.config(), "");
  EXPECT_EQ(model.find("f16")->shape, (std::vector<int64_t>{256, 256}));
  EXPECT_TRUE(values_of(model, *model.find("none")).empty());
  for (const auto& [name, exponent_bits, mantissa_bits] : {std::tuple{"f16", 5, 10}, {"bf16", 8, 7}}) {
    const std::vector<float> values = values_of(model, *model.find(name));
    for (uint32_t i = 0; i < values.size(); ++i) {
      const float expected = small_float(i, exponent_bits, mantissa_bits);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(values[i])) << name << " " << i;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected)) << name << " " << i;
      }
    }
  }
  const std::vector<float> narrowed = values_of(model, *model.find("f64"));
  EXPECT_EQ(narrowed, floats);
  EXPECT_TRUE(std::signbit(narrowed[2]));
}

}  // namespace
}  // namespace diffq
