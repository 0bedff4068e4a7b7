#include "datasets/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "datasets/fail.h"

namespace diffq {

MappedFile::MappedFile(const std::string& path) {
  const auto failed = [&] { fail(path, "can't be read (" + std::generic_category().message(errno) + ")"); };
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) failed();
  struct stat status {};
  void* data = nullptr;
  const bool known = fstat(descriptor, &status) == 0;
  size_ = known ? static_cast<size_t>(status.st_size) : 0;
  if (size_ > 0) data = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  const int error = errno;
  close(descriptor);
  errno = error;
  if (!known || data == MAP_FAILED) failed();
  data_ = static_cast<const char*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

}  // namespace diffq
