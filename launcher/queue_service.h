#pragma once
// The sweep's queue over MPI. World rank 0 runs one service thread; each group's root asks it for runs and
// tells it what became of them, on a communicator of their own. The service polls with short sleeps, so that
// an answer never waits for rank 0's own training, and holds an answer back while a run may still become
// ready.

#include <mpi.h>

#include <atomic>
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "launcher/sweep_state.h"
#include "trainer/train_run.h"

namespace diffq {

class ProgressLine;

/// On a group's root.
class QueueClient {
 public:
  /// `communicator`: the queue's, over all ranks. Borrowed.
  QueueClient(MPI_Comm communicator, int group) : communicator_(communicator), group_(group) {}

  /// Index of the next run, or -1 when there is none for good. May wait long; leaves the core free.
  int next();
  void progress(size_t run, const RunProgress& progress);
  void epoch(size_t run, const EpochRow& row);
  void done(size_t run, const RunRecord& record);
  void failed(size_t run, const std::string& reason);

 private:
  void send(const nlohmann::json& message);
  MPI_Comm communicator_;
  int group_;
};

/// On world rank 0.
class QueueService {
 public:
  /// Starts the thread. Everything is borrowed and must outlive it.
  QueueService(MPI_Comm communicator, int groups, SweepState& state, ProgressLine& progress);
  ~QueueService();  ///< stops the thread at once if join() has not returned
  QueueService(const QueueService&) = delete;
  QueueService& operator=(const QueueService&) = delete;

  /// Returns when every group was told that there is no run left. Throws what went wrong in the thread (a
  /// journal that can't be written, say); groups were then told that nothing is left.
  void join();

 private:
  void serve();
  void handle(const nlohmann::json& message, int source);
  void answer_waiting();

  MPI_Comm communicator_;
  int groups_;
  SweepState& state_;
  ProgressLine& progress_;
  struct Waiting {
    int source, group;
  };
  std::vector<Waiting> waiting_;
  int dismissed_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> abandoned_ = false;
  std::thread thread_;
};

}  // namespace diffq
