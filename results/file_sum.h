#pragma once
// Size and checksum of a whole file, as the journal has them.

#include <cstdint>
#include <filesystem>
#include <string>

namespace diffq {

struct FileSum {
  int64_t bytes = 0;
  std::string sum;  ///< XXH3, 64 bits, as 16 hex digits

  bool operator==(const FileSum&) const = default;
};
/// Throws std::runtime_error naming the path.
FileSum sum_file(const std::filesystem::path& path);

}  // namespace diffq
