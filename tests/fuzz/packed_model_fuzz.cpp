// libFuzzer target: whatever a model file holds, reading it ends well or in a DamagedFile, and a packed
// tensor that can be read is the same in the other coding. Inputs are mutated as what they are, a header and
// tensors that fit each other; bytes changed at random hardly get beyond the header.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "quant/packed_model.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace diffq {
namespace {

using Json = nlohmann::ordered_json;
using Bytes = std::vector<uint8_t>;

void require(bool holds) {
  if (!holds) std::abort();
}

/// Throws DamagedFile.
void read_tensor(const PackedModel& model, const ModelTensor& tensor) {
  constexpr int64_t kMostUnpacked = 1 << 20, kMostRecoded = 1 << 16;  // more is the same, but slow
  require(model.find(tensor.name) != nullptr);
  Bytes bits;
  if (tensor.packed) {
    check_size(tensor.layout, model.coding(), tensor.bytes);
    bits = model.bits(tensor);
    require(std::ssize(bits) == tensor.layout.groups());
  }
  if (tensor.numel > kMostUnpacked) return;
  std::vector<float> values(static_cast<size_t>(tensor.numel));
  model.unpack(tensor, values.data());
  require(PackedModel::has_values(tensor));
  if (!tensor.packed || tensor.numel > kMostRecoded) return;

  std::vector<uint16_t> levels(values.size());
  unpack_levels(tensor.layout, model.coding(), tensor.bytes, levels.data());
  for (int64_t i = 0; i < tensor.numel; ++i) {
    const auto width = bits[static_cast<size_t>(i / tensor.layout.group_size)];
    require(width <= 15 && levels[static_cast<size_t>(i)] < 1 << width);
  }
  const Coding other = model.coding() == Coding::bits ? Coding::zstd : Coding::bits;
  const Bytes recoded = recode_tensor(tensor.layout, model.coding(), tensor.bytes, other);
  std::vector<float> again(values.size());
  unpack_tensor(tensor.layout, other, recoded, again.data());
  require(std::memcmp(values.data(), again.data(), values.size() * sizeof(float)) == 0);
  require(unpack_bits_table(tensor.layout, other, recoded) == bits);
}

/// Header and tensors of a file, taken apart.
struct Parts {
  Json header;
  std::vector<std::pair<std::string, Bytes>> tensors;
};

/// False when it is no such file.
bool take_apart(const uint8_t* data, size_t size, Parts& parts) {
  uint64_t length = 0;
  if (size < 8) return false;
  std::memcpy(&length, data, 8);
  if (length > size - 8) return false;
  parts.header = Json::parse(data + 8, data + 8 + length, nullptr, false);
  if (!parts.header.is_object()) return false;
  for (const auto& [name, entry] : parts.header.items()) {
    if (name == "__metadata__") continue;
    try {
      const Json &first = entry.at("data_offsets").at(0), &last = entry["data_offsets"].at(1);
      if (!first.is_number_unsigned() || !last.is_number_unsigned()) return false;
      const auto begin = first.get<uint64_t>(), end = last.get<uint64_t>();
      if (begin > end || end > size - 8 - length) return false;
      parts.tensors.emplace_back(name, Bytes(data + 8 + length + begin, data + 8 + length + end));
    } catch (const nlohmann::json::exception&) {
      return false;
    }
  }
  return true;
}

/// With offsets that fit; strings of bytes get the shape of their size.
Bytes put_together(Parts& parts) {
  Bytes tensors;
  for (const auto& [name, bytes] : parts.tensors) {
    Json& entry = parts.header[name];
    entry["data_offsets"] = {tensors.size(), tensors.size() + bytes.size()};
    if (entry.contains("dtype") && entry["dtype"] == "U8") entry["shape"] = {bytes.size()};
    tensors.insert(tensors.end(), bytes.begin(), bytes.end());
  }
  const std::string text = parts.header.dump(-1, ' ', false, Json::error_handler_t::replace);
  const uint64_t length = text.size();
  Bytes file(8);
  std::memcpy(file.data(), &length, 8);
  file.insert(file.end(), text.begin(), text.end());
  file.insert(file.end(), tensors.begin(), tensors.end());
  return file;
}

void mutate(Bytes& bytes, size_t max_size) {
  const size_t size = bytes.size();
  bytes.resize(std::max<size_t>(max_size, size));
  bytes.resize(LLVMFuzzerMutate(bytes.data(), size, bytes.size()));
}

/// Another shape or group size of a packed tensor.
void mutate_layout(Json& header, std::mt19937& random) {
  try {
    Json& text = header.at("__metadata__").at("quantized");
    Json quantized = Json::parse(text.get<std::string>());
    if (quantized.empty()) return;
    Json& entry = quantized.at(std::next(quantized.begin(), random() % quantized.size()).key());
    constexpr int64_t kLarge[] = {255, 4096, 4097, 1 << 16, 1 << 23, int64_t{1} << 40, INT64_MAX};
    const auto number = static_cast<int64_t>(random() % 4 == 0 ? kLarge[random() % 7] : random() % 70);
    if (random() % 2 == 0) {
      entry["group_size"] = number;
    } else if (random() % 2 == 0) {
      entry["shape"].push_back(number);
    } else {
      entry["shape"] = {number};
    }
    text = quantized.dump();
  } catch (const nlohmann::json::exception&) {  // what was mutated before may lack anything
  }
}

}  // namespace
}  // namespace diffq

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  using namespace diffq;
  std::mt19937 random(seed);
  Parts parts;
  const unsigned way = random() % 8;
  if (way == 0 || !take_apart(data, size, parts)) return LLVMFuzzerMutate(data, size, max_size);
  Bytes file;
  if (way == 1) {  // the header's text, with its length put right
    uint64_t length = 0;
    std::memcpy(&length, data, 8);
    Bytes text(data + 8, data + 8 + length);
    mutate(text, text.size() + 64);
    length = text.size();
    file.assign(reinterpret_cast<uint8_t*>(&length), reinterpret_cast<uint8_t*>(&length) + 8);
    file.insert(file.end(), text.begin(), text.end());
    std::memcpy(&length, data, 8);
    file.insert(file.end(), data + 8 + length, data + size);
  } else {
    if (way <= 3 || parts.tensors.empty()) {
      mutate_layout(parts.header, random);
    } else {
      Bytes& bytes = parts.tensors[random() % parts.tensors.size()].second;
      mutate(bytes, bytes.size() + 64);
    }
    file = put_together(parts);
  }
  if (file.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffq;
  try {
    SafetensorsFile file = parse_safetensors({data, data + size});
    try {
      check_checksum(file);
    } catch (const DamagedFile&) {  // of nearly all: what matters here is behind it
    }
    const PackedModel model(std::move(file), false);
    for (const auto& [alias, name] : model.aliases()) require(model.find(alias) == model.find(name));
    for (const ModelTensor& tensor : model.tensors()) {
      try {
        read_tensor(model, tensor);
      } catch (const DamagedFile&) {  // the others may be whole
      }
    }
  } catch (const DamagedFile&) {
  }
  return 0;
}
