// Preloaded into a program under test. From its n-th such call on (DIFFQ_FULL_AFTER=n), or only then (with
// DIFFQ_FULL_ONCE), the disk is full below the folder DIFFQ_FULL_FOLDER: writing, syncing and making files
// give ENOSPC. DIFFQ_FULL_COUNT: a file that gets the number of such calls at the end. DIFFQ_CLOCK_BACK=n:
// the wall clock goes back by an hour after it was asked n times.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

std::atomic<long> calls{0};

bool is_ours(const char* path) {
  const char* folder = std::getenv("DIFFQ_FULL_FOLDER");
  return folder != nullptr && std::strncmp(path, folder, std::strlen(folder)) == 0;
}

bool is_ours(int file) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = '\0';
  return is_ours(path);
}

// Whether this call, one that takes space, finds the disk full.
bool full() {
  const char* after = std::getenv("DIFFQ_FULL_AFTER");
  const long now = ++calls;
  if (after == nullptr) return false;
  const long first = std::atol(after);
  if (std::getenv("DIFFQ_FULL_ONCE") != nullptr ? now != first : now < first) return false;
  errno = ENOSPC;
  return true;
}

template <class Call>
Call real(Call, const char* name) {
  return reinterpret_cast<Call>(::dlsym(RTLD_NEXT, name));
}
#define REAL(name) real(&::name, #name)

struct AtTheEnd {
  ~AtTheEnd() {
    const char* path = std::getenv("DIFFQ_FULL_COUNT");
    // MPI's own helper processes make none.
    std::FILE* file = path != nullptr && calls > 0 ? std::fopen(path, "w") : nullptr;
    if (file == nullptr) return;
    std::fprintf(file, "%ld", calls.load());
    std::fclose(file);
  }
} at_the_end;

}  // namespace

extern "C" {

ssize_t write(int file, const void* bytes, size_t count) {
  return is_ours(file) && full() ? -1 : REAL(write)(file, bytes, count);
}
ssize_t writev(int file, const iovec* pieces, int count) {
  return is_ours(file) && full() ? -1 : REAL(writev)(file, pieces, count);
}
ssize_t pwrite(int file, const void* bytes, size_t count, off_t offset) {
  return is_ours(file) && full() ? -1 : REAL(pwrite)(file, bytes, count, offset);
}
ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t offset) {
  return is_ours(file) && full() ? -1 : REAL(pwrite64)(file, bytes, count, offset);
}
int fsync(int file) { return is_ours(file) && full() ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return is_ours(file) && full() ? -1 : REAL(fdatasync)(file); }
int mkdir(const char* path, mode_t mode) noexcept {
  return is_ours(path) && full() ? -1 : REAL(mkdir)(path, mode);
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return (flags & O_CREAT) != 0 && is_ours(path) && full() ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return (flags & O_CREAT) != 0 && is_ours(path) && full() ? -1 : REAL(open64)(path, flags, mode);
}

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const int result = REAL(clock_gettime)(clock, now);
  const char* back = std::getenv("DIFFQ_CLOCK_BACK");
  if (clock != CLOCK_REALTIME || back == nullptr) return result;
  static std::atomic<long> asked{0};
  if (asked++ >= std::atol(back)) now->tv_sec -= 3600;
  return result;
}
std::time_t time(std::time_t* to) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to != nullptr) *to = now.tv_sec;
  return now.tv_sec;
}
}
