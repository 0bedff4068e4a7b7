#pragma once
// One sweep a folder: the file `lock`, with host and process, made by whoever works in it. It works on
// network file systems too: a file linked into place, whose time the owner renews, so that one left by a
// process that is gone is recognised, on the same host by the process, elsewhere by its age (by the folder's
// own clock).

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

namespace diffq {

/// Who holds a folder, as its lock says.
struct LockOwner {
  std::string host;
  int64_t process = 0;
  std::string started;     ///< of the process: boot and tick, so that a number used again is another process
  std::string since;       ///< UTC
  double age_seconds = 0;  ///< since the last sign of life of an owner on another host

  bool on_this_host() const;
  /// Alive for all that can be known from here.
  bool alive() const;
  std::string text() const;  ///< "process 17 on host a, since …"
};
/// Nothing where the folder has no lock.
std::optional<LockOwner> lock_owner(const std::filesystem::path& folder);

class FolderLock {
 public:
  static constexpr std::chrono::seconds kRenewal{10};  ///< a sign of life this often
  static constexpr std::chrono::seconds kStale{60};    ///< without one for so long, the owner is gone

  /// Waits up to 10 s for an owner on this host to end (ranks outlive a killed mpirun for a moment), and
  /// until one elsewhere has given a sign of life or is stale. Throws std::invalid_argument naming the owner
  /// when the folder is taken, std::runtime_error when the lock can't be written.
  explicit FolderLock(std::filesystem::path folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// A sign of life, when it is time; cheap to call often. Throws std::runtime_error if another process has
  /// taken the folder meanwhile.
  void renew();

 private:
  bool take();

  std::filesystem::path folder_, path_;
  std::string content_;
  std::chrono::steady_clock::time_point renewed_;
};

}  // namespace diffq
