#pragma once
// The little of HDF5 that tables.cpp needs (include it there alone), with errors as exceptions and
// identifiers that close themselves. The library works on memory alone here: a file is built as an image and
// written by replace_file, and read as a whole before HDF5 sees it. So no file is ever locked (locks fail on
// network file systems), and a full disk is our own clean error: HDF5 1.10 keeps a file that it could not
// write and crashes on it at exit.

#include <hdf5.h>

#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace diffq::hdf5 {

/// The library's own account of its last failure: the outermost and the innermost entry of its error stack.
std::string last_error();

/// Every call goes through this: throws std::runtime_error "WHAT: the library's account" for a negative
/// result.
template <class Result>
Result check(Result result, const std::string& what) {
  if (result < 0) throw std::runtime_error(what + ": " + last_error());
  return result;
}

/// Owns an HDF5 identifier of any kind.
class Id {
 public:
  Id(hid_t id, const std::string& what) : id_(check(id, what)) {}
  ~Id() {
    if (id_ >= 0) H5Idec_ref(id_);
  }
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Id& operator=(Id&&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
};

/// Held during every use of the serial library; silences its printing meanwhile.
class Library {
 public:
  Library();
  ~Library();

 private:
  std::lock_guard<std::mutex> lock_;
  H5E_auto2_t print_ = nullptr;
  void* print_data_ = nullptr;
};

/// Strings of exactly `width` bytes, UTF-8, zeros after shorter ones.
Id string_type(size_t width);
bool is_fixed_string(hid_t type);
/// A string's bytes as stored, without the zeros behind it.
std::string unpadded(const char* from, size_t width);

/// Access to files in memory, all under this name: HDF5 refuses an image whose name exists on disk, and this
/// one can't.
inline constexpr const char* kMemoryFile = "/dev/null/memory";
Id memory_access();
/// The bytes of a file opened with it.
std::string image_of(hid_t file);

void write_attribute(hid_t object, const std::string& name, const std::string& value);
void write_attribute(hid_t object, const std::string& name, int64_t value);
/// Throw std::runtime_error if missing, no single value, or of another kind.
std::string read_string_attribute(hid_t object, const std::string& name);
int64_t read_integer_attribute(hid_t object, const std::string& name);

}  // namespace diffq::hdf5
