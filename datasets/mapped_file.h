#pragma once
// A file in memory, read only; the system reads its pages when they are touched and may forget them.

#include <span>
#include <string>

namespace diffq {

class MappedFile {
 public:
  /// Throws std::invalid_argument "PATH: can't be read (…)".
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const char> bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace diffq
