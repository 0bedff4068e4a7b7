#pragma once
// safetensors files (https://github.com/huggingface/safetensors#format): eight bytes with the header's
// length, a JSON header with name, type, shape and place of every tensor, then the tensors' bytes. Reading
// trusts nothing: whatever the bytes, it ends in a DamagedFile, without a crash and without more memory than
// the file's own size calls for. No ATen here: the reader is fuzzed by itself.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "quant/packed_tensor.h"

namespace diffq {

struct StoredTensor {
  std::string name;
  std::string dtype;  ///< "F32", "U8", … as the format has them
  std::vector<int64_t> shape;
  std::span<const uint8_t> bytes;

  int64_t numel() const;
};

using Metadata = std::map<std::string, std::string>;

/// A whole file in memory.
struct SafetensorsFile {
  SafetensorsFile() = default;
  SafetensorsFile(SafetensorsFile&&) = default;  // a copy's tensors would point into the original
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

  std::vector<uint8_t> content;
  Metadata metadata;
  std::vector<StoredTensor> tensors;  ///< in the order of their bytes; they point into `content`
  int64_t header_bytes = 0;           ///< all that is not a tensor
};

/// Throws std::invalid_argument naming the path when it can't be read, DamagedFile when it is no such file.
SafetensorsFile read_safetensors(const std::filesystem::path& path);
SafetensorsFile parse_safetensors(std::vector<uint8_t> content);

/// A tensor about to be written.
struct TensorToWrite {
  std::string name, dtype;
  std::vector<int64_t> shape;
  uint64_t size = 0;  ///< bytes
  std::function<std::span<const uint8_t>()>
      bytes;  ///< called once; what it gives need only live until the next call
};

/// Writes the file at `path` itself; whoever wants it replaced as a whole gives a temporary one. Tensors are
/// written in the order given, which should put types of more bytes first, so that all are aligned. Throws
/// std::runtime_error naming the path.
void write_safetensors(const std::filesystem::path& path, const Metadata& metadata,
                       std::span<const TensorToWrite> tensors);
/// Size of the file that write_safetensors writes.
int64_t safetensors_bytes(const Metadata& metadata, std::span<const TensorToWrite> tensors);

/// Bytes an entry of a type, or 0 if there is no such type.
int64_t bytes_of_dtype(const std::string& dtype);

/// The checksum of a file of ours stands in its metadata under this key: XXH3 (64 bits, 16 hex digits) of the
/// whole file with these digits as zeros.
inline constexpr const char* kChecksumKey = "diffq_checksum";
/// Throws DamagedFile when the file has a checksum and it is not that of the content.
void check_checksum(const SafetensorsFile& file);

}  // namespace diffq
