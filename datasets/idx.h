#pragma once
// IDX files of unsigned bytes, plain or gzip (told apart by content): 00 00 08 D, then D big-endian 32-bit
// dimensions, then the bytes, last dimension fastest. The size that a header claims is compared with what the
// file can hold before any memory is set aside. Format: https://yann.lecun.com/exdb/mnist ("The IDX file
// format").

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace diffq {

struct IdxFile {
  std::string path;
  std::vector<int64_t> dims;   ///< all >= 1
  std::vector<uint8_t> bytes;  ///< empty when only checked
};

/// Reads the header and sees to it that the data is there in full; a compressed file is decompressed once for
/// that, its check sum included. `dimensions` lists the numbers of dimensions that will do. Throws
/// std::invalid_argument "FILE: what is wrong; what would be right".
IdxFile check_idx(const std::string& path, std::span<const int> dimensions);
/// The same with the bytes.
IdxFile read_idx(const std::string& path, std::span<const int> dimensions);

}  // namespace diffq
