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

class Progress;

/// On a group's root.
class QueueClient {
 public:
  /// `communicator`: the queue's, over all ranks. Borrowed.
  QueueClient(MPI_Comm communicator, int group) : communicator_(communicator), group_(group) {}

  /// Index of the next run, or -1 when there is none for good. May wait long; leaves the core free.
  int next();
  void progress(size_t run, const RunProgress& progress);
  void epoch(size_t run, const EpochRow& row);
  /// `files`: sums of what the run has written.
  void done(size_t run, const RunRecord& record, const nlohmann::json& files);
  void failed(size_t run, const std::string& reason);
  /// The group has left the run, for a later start.
  void stopped(size_t run);
  /// Whether the sweep is to stop; cheap.
  bool told_to_stop();

 private:
  void send(const nlohmann::json& message);
  MPI_Comm communicator_;
  int group_;
  bool stop_ = false;
};

/// On world rank 0.
class QueueService {
 public:
  /// Called in every turn of the thread; says why the sweep is to stop, or "" while it is not.
  using Housekeeping = std::function<std::string()>;

  /// Starts the thread. Everything is borrowed and must outlive it. Group g's root is rank g *
  /// ranks_per_group.
  QueueService(MPI_Comm communicator, int groups, int ranks_per_group, SweepState& state, Progress& progress,
               Housekeeping housekeeping);
  ~QueueService();  ///< stops the thread at once if join() has not returned
  QueueService(const QueueService&) = delete;
  QueueService& operator=(const QueueService&) = delete;

  /// Returns when every group was told that there is no run left. Throws what went wrong in the thread (a
  /// journal that can't be written, say); groups were then told that nothing is left.
  void join();

 private:
  void serve();
  void serve_once();
  void stop(const std::string& reason);
  void tell_groups_to_stop();
  void handle(const nlohmann::json& message, int source);
  void answer_waiting();

  MPI_Comm communicator_;
  int ranks_per_group_;
  SweepState& state_;
  Progress& progress_;
  Housekeeping housekeeping_;
  struct Waiting {
    int source, group;
  };
  std::vector<Waiting> waiting_;
  std::vector<bool> dismissed_;  ///< by group
  bool stopping_ = false;
  std::vector<MPI_Request> told_;  ///< that the sweep is to stop
  std::exception_ptr error_;
  std::atomic<bool> abandoned_ = false;
  std::thread thread_;
};

}  // namespace diffq
