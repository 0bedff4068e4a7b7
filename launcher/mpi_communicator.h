#pragma once
// The group's communicator on MPI, for gradients in host memory. MPI_Iallreduce makes no progress by itself,
// so a thread tests the requests while backward runs; without it nothing would overlap.

#include <mpi.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "trainer/communicator.h"

namespace diffq {

class MpiCommunicator : public Communicator {
 public:
  /// Takes over `communicator`. `host` is for messages.
  MpiCommunicator(MPI_Comm communicator, std::string host);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& host() const { return host_; }
  MPI_Comm mpi() const { return communicator_; }
  void start_sum(const at::Tensor& bucket) override;
  void wait() override;
  void broadcast(const at::Tensor& tensor) override;
  void sum(std::span<double> values) override;
  /// Rank 0's number on all ranks; waits without keeping a core busy.
  int broadcast(int value);
  /// What first_failure gives, for a communicator that sums elsewhere.
  std::string gather_failure(const std::string& mine) { return first_failure(mine); }

 protected:
  std::string first_failure(const std::string& mine) override;

 private:
  void progress();
  bool test_pending();

  MPI_Comm communicator_;
  std::string host_;
  int rank_ = 0, size_ = 1;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<MPI_Request> pending_;
  std::exception_ptr error_;  ///< of the progress thread, thrown by wait()
  bool stopping_ = false;
  std::thread thread_;  ///< last: starts when all else exists
};

}  // namespace diffq
