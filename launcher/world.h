#pragma once
// MPI started and stopped: this process's place among all ranks. Only `diffq run` makes a World.

#include <mpi.h>

#include <string>
#include <vector>

namespace diffq {

/// Throws std::runtime_error naming the call and MPI's own words for the error.
void check_mpi(int code, const char* call);

/// Where a rank is. Hosts may share a name; ranks of one host share a node.
struct RankPlace {
  int node = 0;  ///< lowest rank of the host
  std::string host;
};

class World {
 public:
  /// MPI_Init_thread(MPI_THREAD_MULTIPLE). Throws std::runtime_error if MPI gives less, or if this is one of
  /// several processes that don't see each other (srun without PMIx starts N singletons).
  World();
  ~World();  ///< MPI_Finalize, unless by an exception: then the job has to be aborted
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_size() const { return local_size_; }  ///< ranks on this host
  const std::string& host() const { return host_; }
  MPI_Comm communicator() const { return MPI_COMM_WORLD; }

  /// The same text on all ranks: rank 0's.
  std::string broadcast(const std::string& text) const;
  int broadcast(int value) const;  ///< waits without keeping a core busy
  void barrier() const;
  /// Of all ranks, on all ranks.
  std::vector<RankPlace> places() const;
  /// Each rank's text, in order of rank, on rank 0; empty elsewhere.
  std::vector<std::string> gather(const std::string& text) const;

 private:
  int rank_ = 0, size_ = 1, local_size_ = 1, node_ = 0;
  std::string host_;
};

/// Waits for `request` without keeping a core busy: ranks may wait for minutes while others on their host
/// compute.
void wait_politely(MPI_Request& request);

/// Threads that this rank may use for computing: OMP_NUM_THREADS if that is set, else the cores it is bound
/// to, or its share of the host's.
int compute_threads(int local_size);

/// Rank that the launcher (mpirun, srun) gave this process, read from the environment before MPI starts; 0
/// without one.
int launched_rank();
/// This host's, as gethostname has it.
std::string host_name();

}  // namespace diffq
