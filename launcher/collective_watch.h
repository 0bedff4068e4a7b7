#pragma once
// A deadline on every collective of a group on GPUs. NCCL waits forever for a rank that does not come, so a
// thread on every rank looks at what was started and has not ended. Whoever misses its deadline, or hears of
// an error, tells the others over MPI; then every rank prints where it is, they name the one that is behind,
// abort, and call the alarm.

#include <mpi.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace diffq {

struct Collective {
  enum class Op : int64_t { none, start_up, all_reduce, broadcast };
  int64_t sequence = 0;  ///< counted alike on every rank of the group, from 1
  Op op = Op::none;
  int64_t bytes = 0;
  int64_t bucket = -1;  ///< of a step's gradients; -1: no bucket
};
/// "{seq 17, op all-reduce, bytes 26214400, bucket 2}"
std::string text_of(const Collective& collective);

/// How far a rank is.
struct CollectivePlace {
  Collective last;      ///< the last one that its host has started
  int64_t reached = 0;  ///< sequence of the last one that its GPU has come to
};

/// Which ranks hold up the others: those that give no answer (no value), else those that are least far. Empty
/// where all are equally far: then it is none of theirs.
std::vector<int> ranks_behind(const std::vector<std::optional<CollectivePlace>>& places);

class CollectiveWatch {
 public:
  struct Progress {
    int64_t reached = 0;  ///< sequence of the last collective that the GPU has come to
    int64_t ended = 0;    ///< … and of the last one that has ended
  };
  struct Trouble {
    std::string what;       ///< the same on all ranks that answer
    bool starting = false;  ///< the group never came to be
  };
  struct Parts {
    std::function<Progress()> poll;  ///< on the watch's thread; throws what has gone wrong in the background
    std::function<void()> abort;     ///< ends all that this rank's GPU waits for
    std::function<void(const Trouble&)> alarm;  ///< called once, last; in the program it does not return
  };

  /// Collective over `group`, of which it takes a duplicate. `host` is for messages.
  CollectiveWatch(MPI_Comm group, const std::string& host, std::chrono::milliseconds deadline, Parts parts);
  ~CollectiveWatch();  ///< stops watching
  CollectiveWatch(const CollectiveWatch&) = delete;
  CollectiveWatch& operator=(const CollectiveWatch&) = delete;

  /// From now on `collective` is under the deadline, until poll says that it has ended.
  void started(const Collective& collective);
  /// Whether the alarm is being raised, here or elsewhere.
  bool tripped();
  /// Raises it for what this thread has met, waits for its end, and throws std::runtime_error with all that
  /// is known.
  [[noreturn]] void fail(const std::string& what);

 private:
  struct Started {
    Collective collective;
    std::chrono::duration<double> at;
  };
  /// What a rank tells the others when something is wrong.
  struct Sign {
    CollectivePlace place;
    bool late = false;  ///< a deadline has passed, as against an error
    std::array<char, 512> what{};
  };
  void watch(const std::stop_token& stop);
  struct Problem {
    std::string what;  ///< empty where others have told of it
    bool late = false;
  };
  std::optional<Problem> look(std::chrono::duration<double> elapsed);
  void raise(const Problem& problem);
  std::vector<std::optional<Sign>> ask_around(const Sign& mine);
  std::string verdict(const std::vector<std::optional<Sign>>& signs) const;
  void abort_within_limit();

  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  std::vector<std::string> hosts_;  ///< of all ranks
  std::chrono::milliseconds deadline_;
  Parts parts_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Started> started_;
  CollectivePlace place_;
  std::chrono::duration<double> clock_{0};  ///< stands still while this process is suspended
  std::string failure_;                     ///< that fail() was called with
  bool tripped_ = false, raised_ = false;
  Trouble trouble_;
  std::jthread thread_;  ///< last: starts when all else exists
};

}  // namespace diffq
