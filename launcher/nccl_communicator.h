#pragma once
// The group's communicator on NCCL, for gradients in GPU memory: sums run on a stream of their own, ordered
// against the computing stream by events, so that they overlap with backward. Built only with CUDA; training
// on GPUs does not use it yet.

#ifdef DIFFQ_WITH_CUDA

#include <cuda_runtime_api.h>
#include <mpi.h>
#include <nccl.h>

#include "launcher/mpi_communicator.h"

namespace diffq {

class NcclCommunicator : public Communicator {
 public:
  /// One GPU a rank, already chosen with cudaSetDevice. `hosts`: the same group over MPI, borrowed; carries
  /// the unique id, and everything that is not a sum of gradients. Throws std::runtime_error with NCCL's or
  /// CUDA's words.
  NcclCommunicator(MPI_Comm group, MpiCommunicator& hosts, cudaStream_t compute);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return hosts_.rank(); }
  int size() const override { return hosts_.size(); }
  void start_sum(const at::Tensor& bucket) override;
  /// Makes the computing stream wait for the sums; the host goes on.
  void wait() override;
  void broadcast(const at::Tensor& tensor) override;
  void sum(std::span<double> values) override { hosts_.sum(values); }

 protected:
  std::string first_failure(const std::string& mine) override;

 private:
  MpiCommunicator& hosts_;
  cudaStream_t compute_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t ready_ = nullptr, summed_ = nullptr;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace diffq

#endif
