#include "quant/packed_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "quant/half.h"

namespace diffq {
namespace {

/// JSON that stands in the metadata. Depth is limited, so that the memory is in proportion to the text.
nlohmann::json parse_metadata(const std::string& key, const std::string& text) {
  constexpr int kDeepest = 8;
  const auto limit = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kDeepest) throw DamagedFile("metadata \"" + key + "\" is nested too deeply");
    return true;
  };
  try {
    return nlohmann::json::parse(text, limit);
  } catch (const nlohmann::json::exception&) {
    throw DamagedFile("metadata \"" + key + "\" is not JSON");
  }
}

std::string text_of(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) throw DamagedFile("lacks the metadata \"" + key + "\"");
  return found->second;
}

template <class Value>
Value word_of(const Metadata& metadata, const std::string& key,
              std::initializer_list<std::pair<const char*, Value>> words) {
  const std::string text = text_of(metadata, key);
  for (const auto& [word, value] : words) {
    if (text == word) return value;
  }
  throw DamagedFile("has the unknown metadata " + key + " \"" + text + "\"");
}

template <class Stored, class Convert>
void convert(std::span<const uint8_t> bytes, float* values, const Convert& to_float) {
  for (size_t i = 0; i < bytes.size() / sizeof(Stored); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    values[i] = to_float(stored);
  }
}

/// A whole number, not a real one that would be cut.
int64_t whole_of(const std::string& name, const nlohmann::json& value) {
  if (!value.is_number_integer() || value < 0 || value > INT64_MAX)
    throw DamagedFile(name + ": its shape, group_size or channels is not made of whole numbers");
  return value.get<int64_t>();
}

/// Product of a shape, which must be positive and may not overflow.
int64_t count_of(const std::string& name, const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    if (extent < 1 || __builtin_mul_overflow(count, extent, &count))
      throw DamagedFile(name + ": has a shape that can't be");
  }
  return count;
}

}  // namespace

PackedModel::PackedModel(SafetensorsFile file, bool require_checksum) : file_(std::move(file)) {
  if (require_checksum) check_checksum(file_);
  for (const StoredTensor& stored : file_.tensors) {
    ModelTensor tensor;
    tensor.name = stored.name;
    tensor.shape = stored.shape;
    tensor.dtype = stored.dtype;
    tensor.numel = stored.numel();
    tensor.bytes = stored.bytes;
    tensors_.push_back(std::move(tensor));
  }
  const auto format = file_.metadata.find("format");
  is_packed_ = format != file_.metadata.end() && format->second.starts_with("diffq-packed/");
  if (!is_packed_) return;
  if (format->second != kPackedFormat && format->second != kPackedFormat2)
    throw DamagedFile("is of format " + format->second + "; this diffq reads " + kPackedFormat + " and " +
                      kPackedFormat2);
  if (require_checksum) text_of(file_.metadata, kChecksumKey);
  read_metadata();
}

PackedModel PackedModel::read(const std::filesystem::path& path) {
  SafetensorsFile file = read_safetensors(path);
  try {
    return PackedModel(std::move(file));
  } catch (const DamagedFile& error) {
    throw DamagedFile(path.string() + ": " + error.what());
  }
}

void PackedModel::read_metadata() {
  const Metadata& metadata = file_.metadata;
  grid_ = word_of<LevelGrid>(metadata, "grid", {{"range", LevelGrid::range}, {"scale", LevelGrid::scale}});
  coding_ = word_of<Coding>(metadata, "coding", {{"bits", Coding::bits}, {"zstd", Coding::zstd}});
  config_ = text_of(metadata, "config");
  if (!parse_metadata("config", config_).is_object())
    throw DamagedFile("has metadata \"config\" that is no JSON object");
  const nlohmann::json quantized = parse_metadata("quantized", text_of(metadata, "quantized"));
  const nlohmann::json aliases = parse_metadata("aliases", text_of(metadata, "aliases"));
  if (!quantized.is_object() || !aliases.is_object())
    throw DamagedFile("has metadata that is no JSON object");

  std::map<std::string, ModelTensor*> by_name;
  for (ModelTensor& tensor : tensors_) by_name[tensor.name] = &tensor;
  for (const auto& [name, value] : quantized.items()) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) throw DamagedFile(name + ": is missing");
    ModelTensor& tensor = *found->second;
    if (tensor.dtype != "U8" || tensor.shape.size() != 1)
      throw DamagedFile(name + ": is not a string of bytes");
    if (!value.is_object() || !value.contains("shape") || !value["shape"].is_array() ||
        !value.contains("group_size"))
      throw DamagedFile(name + ": lacks its shape or group_size");
    tensor.shape.clear();
    for (const auto& extent : value["shape"]) tensor.shape.push_back(whole_of(name, extent));
    const int64_t group_size = whole_of(name, value["group_size"]);
    tensor.packed = true;
    tensor.numel = count_of(name, tensor.shape);
    tensor.layout = {tensor.numel, group_size == 0 ? tensor.numel : std::min(group_size, tensor.numel), grid_,
                     value.contains("channels") ? whole_of(name, value["channels"]) : 1};
    if (tensor.layout.channels < 1 || tensor.numel % tensor.layout.channels != 0 ||
        (tensor.layout.channels > 1 && grid_ == LevelGrid::scale))
      throw DamagedFile(name + ": has " + std::to_string(tensor.layout.channels) +
                        " channels, which can't be");
    try {
      check_size(tensor.layout, coding_, tensor.bytes);
    } catch (const DamagedFile& error) {
      throw DamagedFile(name + ": " + error.what());
    }
  }
  for (const auto& [alias, name] : aliases.items()) {
    if (!name.is_string() || !by_name.contains(name.get<std::string>()) || by_name.contains(alias))
      throw DamagedFile("has an alias " + alias + " of nothing, or of two tensors");
    aliases_[alias] = name.get<std::string>();
  }
}

const ModelTensor* PackedModel::find(const std::string& name) const {
  const auto alias = aliases_.find(name);
  const std::string& own = alias == aliases_.end() ? name : alias->second;
  const auto found = std::ranges::find(tensors_, own, &ModelTensor::name);
  return found == tensors_.end() ? nullptr : &*found;
}

bool PackedModel::has_values(const ModelTensor& tensor) {
  return tensor.packed || tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16" ||
         tensor.dtype == "F64";
}

void PackedModel::unpack(const ModelTensor& tensor, float* values) const {
  if (tensor.packed) {
    try {
      unpack_tensor(tensor.layout, coding_, tensor.bytes, values);
    } catch (const DamagedFile& error) {
      throw DamagedFile(tensor.name + ": " + error.what());
    }
  } else if (tensor.dtype == "F32") {
    if (tensor.numel > 0) std::memcpy(values, tensor.bytes.data(), tensor.bytes.size());
  } else if (tensor.dtype == "F16") {
    convert<uint16_t>(tensor.bytes, values, half_to_float);
  } else if (tensor.dtype == "BF16") {
    convert<uint16_t>(tensor.bytes, values,
                      [](uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); });
  } else if (tensor.dtype == "F64") {
    convert<double>(tensor.bytes, values, [](double x) { return static_cast<float>(x); });
  } else {
    throw DamagedFile(tensor.name + ": is " + tensor.dtype + ", not of a floating type");
  }
}

std::vector<uint8_t> PackedModel::bits(const ModelTensor& tensor) const {
  try {
    return unpack_bits_table(tensor.layout, coding_, tensor.bytes);
  } catch (const DamagedFile& error) {
    throw DamagedFile(tensor.name + ": " + error.what());
  }
}

PackedModelWriter::PackedModelWriter(LevelGrid grid, Coding coding, std::string config)
    : grid_(grid), coding_(coding), config_(std::move(config)) {}

void PackedModelWriter::add_packed(const std::string& name, std::vector<int64_t> shape, int64_t group_size,
                                   std::vector<uint8_t> bytes, int64_t channels) {
  const TensorLayout layout{.grid = grid_, .channels = channels};
  needs_format_2_ = needs_format_2_ || channels > 1 || has_vanished_groups(layout, bytes);
  packed_.push_back({name, std::move(shape), group_size, std::move(bytes), channels});
}

void PackedModelWriter::add_plain(const std::string& name, const std::string& dtype,
                                  std::vector<int64_t> shape, std::span<const uint8_t> bytes,
                                  std::shared_ptr<const void> owner) {
  plain_.push_back({name, dtype, std::move(shape), bytes});
  owners_.push_back(std::move(owner));
}

void PackedModelWriter::add_alias(const std::string& alias, const std::string& name) {
  aliases_[alias] = name;
}

Metadata PackedModelWriter::metadata() const {
  nlohmann::json quantized = nlohmann::json::object();
  for (const Packed& tensor : packed_) {
    nlohmann::json& layout =
        quantized[tensor.name] = {{"shape", tensor.shape}, {"group_size", tensor.group_size}};
    if (tensor.channels > 1) layout["channels"] = tensor.channels;
  }
  return {{"format", needs_format_2_ ? kPackedFormat2 : kPackedFormat},
          {"grid", grid_ == LevelGrid::range ? "range" : "scale"},
          {"coding", coding_ == Coding::bits ? "bits" : "zstd"},
          {"quantized", quantized.dump()},
          {"aliases", nlohmann::json(aliases_).dump()},
          {"config", config_}};
}

std::vector<TensorToWrite> PackedModelWriter::tensors() const {
  std::vector<TensorToWrite> all;
  for (const StoredTensor& tensor : plain_) {
    all.push_back(
        {tensor.name, tensor.dtype, tensor.shape, tensor.bytes.size(), [&] { return tensor.bytes; }});
  }
  std::ranges::stable_sort(all, std::greater{},
                           [](const TensorToWrite& t) { return bytes_of_dtype(t.dtype); });
  for (const Packed& tensor : packed_) {
    all.push_back({tensor.name, "U8", {static_cast<int64_t>(tensor.bytes.size())}, tensor.bytes.size(), [&] {
                     return std::span<const uint8_t>(tensor.bytes);
                   }});
  }
  return all;
}

int64_t PackedModelWriter::file_bytes() const { return safetensors_bytes(metadata(), tensors()); }

void PackedModelWriter::write(const std::filesystem::path& path) const {
  write_safetensors(path, metadata(), tensors());
}

}  // namespace diffq
