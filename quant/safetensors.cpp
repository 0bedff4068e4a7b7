#include "quant/safetensors.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace diffq {
namespace {

constexpr uint64_t kMostHeader = 100'000'000;  // as the format's own library has it
constexpr size_t kChecksumDigits = 16;

constexpr std::array<std::pair<std::string_view, int>, 15> kDtypes{{{"F64", 8},
                                                                    {"I64", 8},
                                                                    {"U64", 8},
                                                                    {"F32", 4},
                                                                    {"I32", 4},
                                                                    {"U32", 4},
                                                                    {"F16", 2},
                                                                    {"BF16", 2},
                                                                    {"I16", 2},
                                                                    {"U16", 2},
                                                                    {"I8", 1},
                                                                    {"U8", 1},
                                                                    {"F8_E4M3", 1},
                                                                    {"F8_E5M2", 1},
                                                                    {"BOOL", 1}}};

/// One tensor as the header has it.
struct Entry {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

/// Takes the header apart as it is read: {"__metadata__": {text: text}, name: {"dtype": text, "shape": [whole
/// …], "data_offsets": [whole, whole]}}. Whatever else comes is an error at once, before it takes memory.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Metadata metadata;
  std::vector<Entry> entries;

  bool key(string_t& text) override {
    switch (place_) {
      case Place::top:
        if (text == "__metadata__") {
          if (std::exchange(seen_metadata_, true)) refuse("has two __metadata__");
          place_ = Place::before_metadata;
        } else {
          entries.emplace_back().name = text;
          place_ = Place::before_entry;
        }
        return true;
      case Place::metadata:
        if (metadata.contains(text)) refuse("has metadata \"" + text + "\" twice");
        metadata_key_ = text;
        place_ = Place::metadata_value;
        return true;
      case Place::entry:
        if (text == "dtype") {
          once(entries.back().has_dtype, text);
          place_ = Place::dtype;
        } else if (text == "shape") {
          once(entries.back().has_shape, text);
          place_ = Place::before_shape;
        } else if (text == "data_offsets") {
          once(entries.back().has_offsets, text);
          place_ = Place::before_offsets;
        } else {
          refuse("says \"" + text + "\" of tensor " + entries.back().name);
        }
        return true;
      default:
        return unexpected();
    }
  }

  bool string(string_t& text) override {
    if (place_ == Place::metadata_value) {
      metadata[metadata_key_] = std::move(text);
      place_ = Place::metadata;
      return true;
    }
    if (place_ != Place::dtype) return unexpected();
    entries.back().dtype = std::move(text);
    place_ = Place::entry;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (value > INT64_MAX) refuse("has a shape that is too large");
      entries.back().shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ != Place::offsets || entries.back().offsets.size() == 2) return unexpected();
    entries.back().offsets.push_back(value);
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::before_top) {
      place_ = Place::top;
    } else if (place_ == Place::before_metadata) {
      place_ = Place::metadata;
    } else if (place_ == Place::before_entry) {
      place_ = Place::entry;
    } else {
      return unexpected();
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::entry) check_complete(entries.back());
    place_ = place_ == Place::top ? Place::end : Place::top;
    return true;
  }
  bool start_array(size_t) override {
    if (place_ == Place::before_shape) {
      place_ = Place::shape;
    } else if (place_ == Place::before_offsets) {
      place_ = Place::offsets;
    } else {
      return unexpected();
    }
    return true;
  }
  bool end_array() override {
    place_ = Place::entry;
    return true;
  }

  bool null() override { return unexpected(); }
  bool boolean(bool) override { return unexpected(); }
  bool number_integer(number_integer_t) override { return unexpected(); }
  bool number_float(number_float_t, const string_t&) override { return unexpected(); }
  bool binary(binary_t&) override { return unexpected(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    refuse("is not JSON at byte " + std::to_string(position));
  }

 private:
  enum class Place {
    before_top,
    top,
    before_metadata,
    metadata,
    metadata_value,
    before_entry,
    entry,
    dtype,
    before_shape,
    shape,
    before_offsets,
    offsets,
    end
  };

  [[noreturn]] static void refuse(const std::string& what) {
    throw DamagedFile("not a safetensors file, or a damaged one: its header " + what);
  }
  static void check_complete(const Entry& entry) {
    if (!entry.has_dtype || !entry.has_shape || entry.offsets.size() != 2)
      refuse("lacks dtype, shape or data_offsets of " + entry.name);
  }
  [[noreturn]] static bool unexpected() { refuse("holds a value where the format has none"); }
  static void once(bool& seen, const std::string& key) {
    if (std::exchange(seen, true)) refuse("has a \"" + key + "\" twice");
  }

  Place place_ = Place::before_top;
  bool seen_metadata_ = false;
  std::string metadata_key_;
};

/// Bytes of a tensor; throws DamagedFile when its type is unknown or its shape overflows.
uint64_t bytes_of(const Entry& entry) {
  uint64_t bytes = static_cast<uint64_t>(bytes_of_dtype(entry.dtype));
  if (bytes == 0) throw DamagedFile(entry.name + ": is of an unknown type, \"" + entry.dtype + "\"");
  for (const int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes) || bytes > INT64_MAX)
      throw DamagedFile(entry.name + ": has a shape that is too large");
  }
  return bytes;
}

/// Where the checksum's digits are in the header's text, or npos.
size_t find_checksum(std::string_view header) {
  const std::string mark = "\"" + std::string(kChecksumKey) + "\":\"";
  const size_t at = header.find(mark);
  if (at == std::string_view::npos || at + mark.size() + kChecksumDigits > header.size())
    return std::string_view::npos;
  return at + mark.size();
}

std::string digits(uint64_t hash) {
  std::string text(kChecksumDigits, '0');
  for (size_t i = 0; i < kChecksumDigits; ++i)
    text[kChecksumDigits - 1 - i] = "0123456789abcdef"[hash >> (4 * i) & 15];
  return text;
}

class Hash {
 public:
  Hash() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~Hash() { XXH3_freeState(state_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  void add(const void* bytes, size_t count) { XXH3_64bits_update(state_, bytes, count); }
  std::string text() const { return digits(XXH3_64bits_digest(state_)); }

 private:
  XXH3_state_t* state_;
};

/// With zeros for the checksum.
std::string header_text(const Metadata& metadata, std::span<const TensorToWrite> tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"][kChecksumKey] = std::string(kChecksumDigits, '0');
  for (const auto& [key, text] : metadata) header["__metadata__"][key] = text;
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    const uint64_t end = offset + tensor.size;
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors start aligned
  return text;
}

}  // namespace

int64_t bytes_of_dtype(const std::string& dtype) {
  for (const auto& [name, bytes] : kDtypes) {
    if (name == dtype) return bytes;
  }
  return 0;
}

int64_t StoredTensor::numel() const { return static_cast<int64_t>(bytes.size()) / bytes_of_dtype(dtype); }

SafetensorsFile parse_safetensors(std::vector<uint8_t> content) {
  SafetensorsFile file;
  file.content = std::move(content);
  uint64_t length = 0;
  if (file.content.size() < 8) throw DamagedFile("is too short to be a safetensors file");
  std::memcpy(&length, file.content.data(), 8);
  if (length > file.content.size() - 8 || length > kMostHeader)
    throw DamagedFile("not a safetensors file, or a truncated one: its header should have " +
                      std::to_string(length) + " bytes");
  const std::span<const uint8_t> all = file.content;
  const auto header = all.subspan(8, length), data = all.subspan(8 + length);
  file.header_bytes = static_cast<int64_t>(8 + length);
  HeaderReader reader;
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  file.metadata = std::move(reader.metadata);

  std::map<std::string_view, int> names;
  for (const Entry& entry : reader.entries) {
    if (names[entry.name]++ > 0) throw DamagedFile(entry.name + ": is there twice");
    if (entry.offsets[0] > entry.offsets[1] || entry.offsets[1] > data.size())
      throw DamagedFile(entry.name + ": lies outside the file, which is truncated or damaged");
    if (entry.offsets[1] - entry.offsets[0] != bytes_of(entry))
      throw DamagedFile(entry.name + ": has offsets that do not fit its shape");
  }
  std::ranges::stable_sort(reader.entries, {}, &Entry::offsets);
  uint64_t end = 0;
  for (Entry& entry : reader.entries) {
    if (entry.offsets[0] != end) throw DamagedFile(entry.name + ": does not follow the tensor before it");
    end = entry.offsets[1];
    file.tensors.push_back({std::move(entry.name), std::move(entry.dtype), std::move(entry.shape),
                            data.subspan(entry.offsets[0], entry.offsets[1] - entry.offsets[0])});
  }
  if (end != data.size())
    throw DamagedFile("has " + std::to_string(data.size() - end) + " bytes behind its last tensor");
  return file;
}

SafetensorsFile read_safetensors(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw std::invalid_argument(path.string() + ": can't be read: it is a folder");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (size < 0) throw std::invalid_argument(path.string() + ": can't be read: " + std::strerror(errno));
  std::vector<uint8_t> content(static_cast<size_t>(size));
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(content.data()), size))
    throw std::invalid_argument(path.string() + ": can't be read");
  try {
    return parse_safetensors(std::move(content));
  } catch (const DamagedFile& error) {
    throw DamagedFile(path.string() + ": " + error.what());
  }
}

void check_checksum(const SafetensorsFile& file) {
  const auto found = file.metadata.find(kChecksumKey);
  if (found == file.metadata.end()) return;
  const std::string_view header(reinterpret_cast<const char*>(file.content.data()),
                                static_cast<size_t>(file.header_bytes));
  const size_t at = find_checksum(header);
  if (at == std::string_view::npos) throw DamagedFile("has a checksum that can't be found again");
  Hash hash;
  hash.add(file.content.data(), at);
  hash.add(std::string(kChecksumDigits, '0').data(), kChecksumDigits);
  hash.add(file.content.data() + at + kChecksumDigits, file.content.size() - at - kChecksumDigits);
  if (hash.text() != found->second)
    throw DamagedFile(
        "is damaged: its content does not have its checksum (a program that writes it anew must leave out " +
        std::string(kChecksumKey) + ")");
}

int64_t safetensors_bytes(const Metadata& metadata, std::span<const TensorToWrite> tensors) {
  auto bytes = static_cast<int64_t>(8 + header_text(metadata, tensors).size());
  for (const TensorToWrite& tensor : tensors) bytes += static_cast<int64_t>(tensor.size);
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const Metadata& metadata,
                       std::span<const TensorToWrite> tensors) {
  std::string text = header_text(metadata, tensors);
  const uint64_t length = text.size();
  const auto checksum = static_cast<std::streamoff>(8 + find_checksum(text));
  std::ofstream file(path, std::ios::binary);
  Hash hash;
  const auto write = [&](const void* bytes, size_t count) {
    hash.add(bytes, count);
    file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
  };
  write(&length, sizeof length);
  write(text.data(), text.size());
  for (const TensorToWrite& tensor : tensors) {
    const auto bytes = tensor.bytes();
    if (bytes.size() != tensor.size)
      throw std::logic_error(tensor.name + ": has not the size that was announced");
    write(bytes.data(), bytes.size());
  }
  file.seekp(checksum);
  file << hash.text();
  file.close();
  if (!file) throw std::runtime_error(path.string() + ": can't be written: " + std::strerror(errno));
}

}  // namespace diffq
