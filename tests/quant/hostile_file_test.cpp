// Files that were made to do harm: each is refused with a DamagedFile that says why.

#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <source_location>

#include "quant/packed_model.h"

namespace diffq {
namespace {

using Json = nlohmann::ordered_json;
using Bytes = std::vector<uint8_t>;

Bytes file_of(uint64_t header_length, const std::string& header, const Bytes& data) {
  Bytes file(8 + header.size() + data.size());
  std::memcpy(file.data(), &header_length, 8);
  std::ranges::copy(data, std::ranges::copy(header, file.begin() + 8).out);
  return file;
}

Bytes file_of(const std::string& header, const Bytes& data = {}) {
  return file_of(header.size(), header, data);
}

/// Reads all there is to read. Gives the error; other ones than DamagedFile pass through and fail the test.
std::string error_of(Bytes bytes, bool require_checksum = false) {
  try {
    const PackedModel model(parse_safetensors(std::move(bytes)), require_checksum);
    for (const ModelTensor& tensor : model.tensors()) {
      if (!tensor.packed) continue;
      model.bits(tensor);
      std::vector<float> values(static_cast<size_t>(tensor.numel));
      model.unpack(tensor, values.data());
    }
  } catch (const DamagedFile& error) {
    return error.what();
  }
  return "no error";
}

void expect_error(Bytes bytes, const std::string& what, bool require_checksum = false,
                  std::source_location at = std::source_location::current()) {
  const std::string error = error_of(std::move(bytes), require_checksum);
  EXPECT_NE(error.find(what), std::string::npos) << "line " << at.line() << ": " << error;
}

/// A header of tensors of type U8 with these shapes and offsets, and `size` bytes of data.
struct Place {
  std::string name, shape, offsets;
};
Bytes file_with(const std::vector<Place>& places, size_t size, const std::string& dtype = "U8") {
  std::string header;
  for (const Place& place : places) {
    header += (header.empty() ? "{\"" : ",\"") + place.name + R"(":{"dtype":")" + dtype + R"(","shape":[)" +
              place.shape + R"(],"data_offsets":[)" + place.offsets + "]}";
  }
  return file_of(header + "}", Bytes(size));
}

TEST(HostileHeader, ItsLength) {
  expect_error(Bytes(7), "too short");
  expect_error(file_of(uint64_t{1} << 63, "{}", {}), "should have 9223372036854775808 bytes");
  expect_error(file_of(UINT64_MAX, "{}", {}), "should have 18446744073709551615 bytes");
  expect_error(file_of(UINT64_MAX - 7, "{}", {}), "should have");
  expect_error(file_of(3, "{}", {}), "should have 3 bytes");
  expect_error(file_of(1, "{}", {}), "not JSON");
  expect_error(file_of(""), "not JSON");
  EXPECT_EQ(error_of(file_of("{}")), "no error");
}

TEST(HostileHeader, Shapes) {
  EXPECT_EQ(error_of(file_with({{"a", "2,3", "0,6"}}, 6)), "no error");
  expect_error(file_with({{"a", "1152921504606846976", "0,6"}}, 6), "do not fit its shape");
  expect_error(file_with({{"a", "1152921504606846976", "0,0"}}, 0, "F64"), "too large");
  expect_error(file_with({{"a", "4611686018427387904,4", "0,0"}}, 0), "too large");
  expect_error(file_with({{"a", "4294967296,4294967296", "0,0"}}, 0), "too large");
  expect_error(file_with({{"a", "9223372036854775808", "0,0"}}, 0), "too large");
  expect_error(file_with({{"a", "18446744073709551616", "0,0"}}, 0), "where the format has none");
  expect_error(file_with({{"a", "-6", "0,6"}}, 6), "where the format has none");
  expect_error(file_with({{"a", "6.0", "0,6"}}, 6), "where the format has none");
  expect_error(file_with({{"a", "1e400", "0,6"}}, 6), "not JSON");
  expect_error(file_with({{"a", "7", "0,6"}}, 6), "do not fit its shape");
  expect_error(file_with({{"a", "6", "0,6"}}, 6, "F7"), "unknown type");
}

TEST(HostileHeader, Offsets) {
  EXPECT_EQ(error_of(file_with({{"b", "4", "4,8"}, {"none", "0", "4,4"}, {"a", "4", "0,4"}}, 8)), "no error");
  expect_error(file_with({{"a", "8", "0,8"}, {"b", "8", "4,12"}}, 12), "does not follow");
  expect_error(file_with({{"a", "8", "0,8"}, {"b", "8", "0,8"}}, 8), "does not follow");
  expect_error(file_with({{"a", "4", "0,4"}, {"b", "4", "8,12"}}, 12), "does not follow");
  expect_error(file_with({{"a", "4", "4,8"}}, 8), "does not follow");
  expect_error(file_with({{"a", "8", "0,8"}}, 7), "outside the file");
  expect_error(file_with({{"a", "8", "18446744073709551608,18446744073709551615"}}, 8), "outside the file");
  expect_error(file_with({{"a", "8", "8,0"}}, 8), "outside the file");
  expect_error(file_with({{"a", "8", "0,8"}}, 9), "1 bytes behind its last tensor");
  expect_error(file_of("{}", {0}), "1 bytes behind its last tensor");
  expect_error(file_with({{"a", "8", "0"}}, 8), "lacks");
  expect_error(file_with({{"a", "8", "0,8,8"}}, 8), "where the format has none");
}

TEST(HostileHeader, Structure) {
  const std::string a = R"("a":{"dtype":"U8","shape":[],"data_offsets":[0,1]})";
  EXPECT_EQ(error_of(file_of("{" + a + "}  ", {1})), "no error");
  expect_error(file_of("{" + a + "," + a + "}", {1}), "a: is there twice");
  expect_error(file_of(R"({"a":{"dtype":"U8","dtype":"U8"}})"), "a \"dtype\" twice");
  expect_error(file_of(R"({"a":{"shape":[],"shape":[]}})"), "a \"shape\" twice");
  expect_error(file_of(R"({"a":{"data_offsets":[],"data_offsets":[]}})"), "a \"data_offsets\" twice");
  expect_error(file_of(R"({"__metadata__":{},"__metadata__":{}})"), "two __metadata__");
  expect_error(file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "metadata \"k\" twice");
  expect_error(file_of(R"({"__metadata__":{"k":1}})"), "where the format has none");
  expect_error(file_of(R"({"__metadata__":{"k":{}}})"), "where the format has none");
  expect_error(file_of(R"({"__metadata__":"k"})"), "where the format has none");
  expect_error(file_of(R"({"a":{"dtype":"U8","strides":[1]}})"), "says \"strides\" of tensor a");
  expect_error(file_of(R"({"a":{"dtype":"U8","shape":[]}})"), "lacks");
  expect_error(file_of(R"({"a":{}})"), "lacks");
  expect_error(file_of(R"({"a":null})"), "where the format has none");
  expect_error(file_of(R"({"a":{"dtype":true}})"), "where the format has none");
  expect_error(file_of(R"({"a":[]})"), "where the format has none");
  expect_error(file_of("[]"), "where the format has none");
  expect_error(file_of("17"), "where the format has none");
  expect_error(file_of("{" + a + "} {}", {1}), "not JSON");
  expect_error(file_of("{\"\xff\":{}}"), "not JSON");
  expect_error(file_of(std::string(100'000, '[')), "where the format has none");
  expect_error(file_of(R"({"a":{"shape":)" + std::string(100'000, '[')), "where the format has none");
}

/// A packed file of one tensor "w", to be changed before it is made.
struct Packed {
  Json metadata{{"format", kPackedFormat}, {"grid", "range"}, {"coding", "bits"},
                {"quantized", ""},         {"aliases", "{}"}, {"config", "{}"}};
  Json quantized{{"w", {{"shape", {100}}, {"group_size", 10}}}};
  Bytes bytes = head(8, 0);
  std::string dtype = "U8";

  /// Range 0 to 1, the least width and the bits of the table's entries.
  static Bytes head(uint8_t least, uint8_t table_bits) {
    return {0, 0, 0, 0, 0, 0, 0x80, 0x3f, least, table_bits};
  }
  Packed& add(const Bytes& more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return *this;
  }
  /// A list coded by zstd.
  Packed& add_frame(const Bytes& symbols) {
    Bytes frame(ZSTD_compressBound(symbols.size()));
    frame.resize(ZSTD_compress(frame.data(), frame.size(), symbols.data(), symbols.size(), 3));
    const auto length = static_cast<uint32_t>(frame.size());
    Bytes start(5, 1);
    std::memcpy(start.data() + 1, &length, 4);
    return add(start).add(frame);
  }
  Packed& with(const std::string& key, const std::string& text) {
    metadata[key] = text;
    return *this;
  }
  Packed& shaped(const Json& shape, const Json& group_size) {
    quantized["w"] = {{"shape", shape}, {"group_size", group_size}};
    return *this;
  }
  Bytes file() const {
    Json header{{"__metadata__", metadata}};
    if (metadata.contains("quantized") && metadata["quantized"] == "")
      header["__metadata__"]["quantized"] = quantized.dump();
    header["w"] = {{"dtype", dtype}, {"shape", {bytes.size()}}, {"data_offsets", {0, bytes.size()}}};
    return file_of(header.dump(), bytes);
  }
};

TEST(HostilePackedFile, Metadata) {
  const Bytes levels(100, 200);
  ASSERT_EQ(error_of(Packed().add(levels).file()), "no error");
  for (const char* key : {"grid", "coding", "quantized", "aliases", "config"}) {
    Packed packed;
    packed.metadata.erase(key);
    expect_error(packed.file(), "lacks the metadata \"" + std::string(key) + "\"");
  }
  expect_error(Packed().with("format", "diffq-packed/3").file(), "this diffq reads diffq-packed/1");
  expect_error(Packed().with("grid", "log").file(), "unknown metadata grid \"log\"");
  expect_error(Packed().with("coding", "lzma").file(), "unknown metadata coding \"lzma\"");
  for (const char* key : {"quantized", "aliases", "config"}) {
    for (const std::string deep : {"[", "{\"a\":"}) {
      std::string text;
      for (int i = 0; i < 100'000; ++i) text += deep;
      expect_error(Packed().with(key, text).file(), "nested too deeply");
    }
    expect_error(Packed().with(key, "{").file(), "is not JSON");
  }
  expect_error(Packed().with("quantized", "[]").file(), "no JSON object");
  expect_error(Packed().with("aliases", "7").file(), "no JSON object");
  expect_error(Packed().with("config", "[]").file(), "no JSON object");
  expect_error(Packed().with("quantized", R"({"v":{}})").file(), "v: is missing");
  expect_error(Packed().with("quantized", R"({"w":7})").file(), "shape or group_size");
  expect_error(Packed().add(levels).with("aliases", R"({"v":"u"})").file(), "alias v of nothing");
  expect_error(Packed().add(levels).with("aliases", R"({"v":7})").file(), "alias v of nothing");
  expect_error(Packed().add(levels).with("aliases", R"({"w":"w"})").file(), "of two tensors");
  expect_error(Packed().add(levels).with("aliases", R"({"v":"w","u":"v"})").file(), "alias u of nothing");
  Packed floats;
  floats.dtype = "I8";
  expect_error(floats.file(), "not a string of bytes");
}

TEST(HostilePackedFile, Checksum) {
  Packed packed;
  packed.add(Bytes(100, 200));
  expect_error(packed.file(), "lacks the metadata \"" + std::string(kChecksumKey) + "\"", true);
  expect_error(packed.with(kChecksumKey, "").file(), kChecksumKey, true);
  expect_error(packed.with(kChecksumKey, "0123456789abcdef").file(), "does not have its checksum", true);
}

TEST(HostilePackedFile, Shapes) {
  for (const Json& shape : {Json{0}, Json{1 << 30, 1 << 30, 1 << 30}})
    expect_error(Packed().shaped(shape, 1).file(), "shape that can't be");
  for (const Json& shape :
       {Json(100), Json("100"), Json{"100"}, Json{nullptr}, Json{{100}}, Json(nullptr), Json{100.5},
        Json{1e300}, Json{true}, Json{{"a", 100}}, Json{-1}, Json{UINT64_MAX}})
    expect_error(Packed().shaped(shape, 1).file(), "w: ");
  for (const Json& group_size :
       {Json("1"), Json(1.5), Json(1e300), Json(false), Json(Json::array()), Json(-1), Json(UINT64_MAX)})
    expect_error(Packed().shaped({100}, group_size).file(), "shape, group_size or channels");
  EXPECT_EQ(error_of(Packed().add(Bytes(100)).shaped({10, 10}, INT64_MAX).file()), "no error");
  for (const std::string coding : {"bits", "zstd"}) {
    for (const int64_t numel : {int64_t{1} << 40, INT64_MAX}) {
      for (const int64_t group_size : {int64_t{0}, int64_t{1}, numel - 1}) {
        expect_error(Packed().add(Bytes(100)).with("coding", coding).shaped({numel}, group_size).file(),
                     "w: is too short for " + std::to_string(numel) + " weights");
      }
    }
  }
}

TEST(HostilePackedFile, Widths) {
  const auto with_head = [](uint8_t least, uint8_t table_bits) {
    Packed packed;
    packed.bytes = Packed::head(least, table_bits);
    return packed;
  };
  expect_error(with_head(0, 0).add(Bytes(100)).file(), "out of range");
  expect_error(with_head(16, 0).add(Bytes(200)).file(), "out of range");
  expect_error(with_head(1, 5).add(Bytes(200)).file(), "out of range");
  expect_error(with_head(255, 255).add(Bytes(200)).file(), "out of range");
  expect_error(with_head(15, 1).add({0, 2}).add(Bytes(200)).file(), "a group of 16 bits");
  expect_error(with_head(15, 4).add({0, 0, 0, 0, 0xf0}).add(Bytes(200)).file(), "a group of 30 bits");
  expect_error(with_head(1, 4).add(Bytes(4)).shaped({20}, 1).file(), "ends too early");
  // Ten groups of 8 and 9 bits in turn.
  const Bytes table{0xaa, 2};
  EXPECT_EQ(error_of(with_head(8, 1).add(table).add(Bytes(50 + 57)).file()), "no error");
  expect_error(with_head(8, 1).add(table).add(Bytes(50 + 56)).file(), "ends too early");
  expect_error(with_head(8, 1).add(table).add(Bytes(50 + 58)).file(), "1 bytes more");
  Packed headless;
  headless.bytes.resize(9);
  expect_error(headless.shaped({1}, 1).file(), "too short for its range");
}

TEST(HostilePackedFile, Frames) {
  const auto zstd = [] {
    Packed packed;
    return packed.with("coding", "zstd");
  };
  ASSERT_EQ(error_of(zstd().add_frame(Bytes(100)).file()), "no error");
  expect_error(zstd().file(), "ends too early");
  expect_error(zstd().add({2}).add(Bytes(100)).file(), "unknown coding, 2");
  expect_error(zstd().add({1, 0, 0, 0}).file(), "ends too early");
  expect_error(zstd().add({1, 255, 255, 255, 255}).add(Bytes(100)).file(), "ends too early");
  expect_error(zstd().add({1, 8, 0, 0, 0}).add(Bytes(8)).file(), "can't be decompressed");
  expect_error(zstd().add({1, 0, 0, 0, 0}).file(), "fewer levels");
  expect_error(zstd().add_frame(Bytes(99)).file(), "fewer levels");
  expect_error(zstd().add_frame(Bytes(64 << 20)).file(), "can't be decompressed");
  expect_error(zstd().add_frame(Bytes(100)).add({0}).file(), "1 bytes more");
  // Frames of zeros hold that many; the claim is refused before memory is taken for it.
  expect_error(zstd().add_frame(Bytes(100000)).shaped({100000}, 1000).file(), "more levels than its bytes");
  expect_error(zstd().add_frame(Bytes(16 << 20)).shaped({16 << 20}, 1000).file(), "too short for 16777216");
}

}  // namespace
}  // namespace diffq
