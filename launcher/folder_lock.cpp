#include "launcher/folder_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "launcher/journal.h"
#include "launcher/world.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kNotice = std::chrono::seconds(1);
constexpr auto kPause = std::chrono::milliseconds(200);

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Names the process for good: this boot of this host, and the tick it started at (man 5 proc, stat, field
/// 22).
std::string start_of(int64_t process) {
  std::string boot = read_text("/proc/sys/kernel/random/boot_id");
  boot = boot.substr(0, boot.find('\n'));
  const std::string stat = read_text("/proc/" + std::to_string(process) + "/stat");
  size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return boot;
  return boot + " " + stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

double seconds(const timespec& time) { return double(time.tv_sec) + 1e-9 * double(time.tv_nsec); }

/// The time that the folder's file system gives a file made now; this host's where none can be made.
double folder_time(const fs::path& folder) {
  const std::string probe = (folder / (".clock.tmp" + std::to_string(::getpid()))).string();
  const int file = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  struct stat status {};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const bool known = file >= 0 && ::fstat(file, &status) == 0;
  if (file >= 0) {
    ::close(file);
    ::unlink(probe.c_str());
  }
  return seconds(known ? status.st_mtim : now);
}

[[noreturn]] void refuse(const fs::path& folder, const LockOwner& owner) {
  throw std::invalid_argument(folder.string() + ": is being worked on by " + owner.text() +
                              "; wait for it, stop it, or give another --out");
}

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw std::runtime_error(path.string() + ": " + what + ": " + std::strerror(errno));
}

}  // namespace

bool LockOwner::on_this_host() const { return host == host_name(); }

bool LockOwner::alive() const {
  if (!on_this_host()) return age_seconds < double(FolderLock::kStale.count());
  return started == start_of(process) && (::kill(pid_t(process), 0) == 0 || errno == EPERM);
}

std::string LockOwner::text() const {
  return "process " + std::to_string(process) + " on host " + host + ", since " + since;
}

std::optional<LockOwner> lock_owner(const fs::path& folder) {
  const fs::path path = folder / "lock";
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  LockOwner owner;
  const auto json = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) {
    owner.host = json.value("host", "");
    owner.process = json.value("process", int64_t{0});
    owner.started = json.value("started", "");
    owner.since = json.value("since", "");
  }
  if (!owner.on_this_host()) owner.age_seconds = folder_time(folder) - seconds(status.st_mtim);
  return owner;
}

FolderLock::FolderLock(fs::path folder) : folder_(std::move(folder)), path_(folder_ / "lock") {
  const int64_t process = ::getpid();
  content_ =
      nlohmann::json{
          {"host", host_name()}, {"process", process}, {"started", start_of(process)}, {"since", utc_now()}}
          .dump() +
      "\n";
  const auto began = Clock::now();
  double last_age = HUGE_VAL;
  for (bool told = false; !take();) {
    const auto owner = lock_owner(folder_);
    if (!owner) continue;
    const auto waited = Clock::now() - began;
    if (owner->age_seconds < last_age && last_age != HUGE_VAL) refuse(folder_, *owner);  // a sign of life
    if (owner->on_this_host() && waited > kPatience) refuse(folder_, *owner);
    if (!told && waited > kNotice) {
      std::fprintf(stderr, "diffq: %s: waiting to see whether %s ends\n", folder_.c_str(),
                   owner->text().c_str());
      told = true;
    }
    last_age = owner->age_seconds;
    std::this_thread::sleep_for(kPause);
  }
  renewed_ = Clock::now();
}

/// Puts our file in the place of none, or of one whose owner is gone.
bool FolderLock::take() {
  const fs::path own = folder_ / (".lock.new" + std::to_string(::getpid()) + "." + host_name());
  {
    std::ofstream file(own, std::ios::binary);
    file << content_;
    file.close();
    if (!file) fail(path_, "can't be written");
  }
  const auto owner = lock_owner(folder_);
  if (owner && !owner->alive()) {
    // By a name that only one of several takers can give it.
    std::error_code gone;
    const fs::path stale = folder_ / (".lock.stale" + std::to_string(::getpid()) + "." + host_name());
    fs::rename(path_, stale, gone);
    fs::remove(stale, gone);
  }
  const bool taken = ::link(own.c_str(), path_.c_str()) == 0;
  const int error = errno;
  ::unlink(own.c_str());
  if (!taken && error != EEXIST) {
    errno = error;
    fail(path_, "can't be made");
  }
  return taken;
}

FolderLock::~FolderLock() {
  std::error_code ignored;
  if (read_text(path_) == content_) fs::remove(path_, ignored);
}

void FolderLock::renew() {
  if (Clock::now() - renewed_ < kRenewal) return;
  renewed_ = Clock::now();
  if (read_text(path_) != content_) {
    const auto owner = lock_owner(folder_);
    throw std::runtime_error(path_.string() + ": was taken over by " +
                             (owner ? owner->text() : std::string("somebody who has removed it")));
  }
  ::utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);
}

}  // namespace diffq
