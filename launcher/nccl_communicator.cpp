#include "launcher/nccl_communicator.h"

#ifdef DIFFQ_WITH_CUDA

#include "launcher/world.h"

namespace diffq {
namespace {

void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(code));
}

void check_nccl(ncclResult_t code, const char* call) {
  if (code != ncclSuccess) throw std::runtime_error(std::string(call) + ": " + ncclGetErrorString(code));
}

}  // namespace

NcclCommunicator::NcclCommunicator(MPI_Comm group, MpiCommunicator& hosts, cudaStream_t compute)
    : hosts_(hosts), compute_(compute) {
  ncclUniqueId id{};
  if (rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
  check_mpi(MPI_Bcast(&id, sizeof(id), MPI_BYTE, 0, group), "MPI_Bcast");
  // Without it a rank may connect before rank 0's listener is up (cuDecomp, pull request 24).
  check_mpi(MPI_Barrier(group), "MPI_Barrier");
  check_nccl(ncclCommInitRank(&communicator_, size(), id, rank()), "ncclCommInitRank");
  int lowest = 0, highest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
  check_cuda(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, highest),
             "cudaStreamCreateWithPriority");
  check_cuda(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), "cudaEventCreate");
  check_cuda(cudaEventCreateWithFlags(&summed_, cudaEventDisableTiming), "cudaEventCreate");
}

NcclCommunicator::~NcclCommunicator() {
  // Nothing can be done about a failure here.
  if (communicator_ != nullptr) ncclCommAbort(communicator_);
  if (ready_ != nullptr) cudaEventDestroy(ready_);
  if (summed_ != nullptr) cudaEventDestroy(summed_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void NcclCommunicator::start_sum(const at::Tensor& bucket) {
  check_cuda(cudaEventRecord(ready_, compute_), "cudaEventRecord");
  check_cuda(cudaStreamWaitEvent(stream_, ready_, 0), "cudaStreamWaitEvent");
  float* data = bucket.mutable_data_ptr<float>();
  check_nccl(ncclAllReduce(data, data, static_cast<size_t>(bucket.numel()), ncclFloat, ncclSum, communicator_,
                           stream_),
             "ncclAllReduce");
}

void NcclCommunicator::wait() {
  check_cuda(cudaEventRecord(summed_, stream_), "cudaEventRecord");
  check_cuda(cudaStreamWaitEvent(compute_, summed_, 0), "cudaStreamWaitEvent");
}

void NcclCommunicator::broadcast(const at::Tensor& tensor) {
  check_nccl(ncclBroadcast(tensor.const_data_ptr(), tensor.mutable_data_ptr(), tensor.nbytes(), ncclUint8, 0,
                           communicator_, compute_),
             "ncclBroadcast");
}

std::string NcclCommunicator::first_failure(const std::string& mine) { return hosts_.gather_failure(mine); }

}  // namespace diffq

#endif
