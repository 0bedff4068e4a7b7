#pragma once
// The functions of NCCL and of CUDA's run time that the launcher uses, and nothing else of either: tests put
// a stand-in over MPI in their place, and this header needs no CUDA toolkit. Each function is one call, named
// behind it, with the arguments that never vary filled in. A call that fails throws std::runtime_error
// "CALL: the library's own words". Streams and events are as CUDA has them.

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace diffq {

// Handles, which only their library looks into.
struct NcclComm;
struct GpuStream;
struct GpuEvent;

/// What a rank needs to join a group.
struct NcclId {
  std::array<char, 128> bytes{};
};

enum class NcclState { done, in_progress };

class NcclApi {
 public:
  virtual ~NcclApi() = default;

  virtual std::string version() = 0;  ///< ncclGetVersion: "2.28.9"
  virtual NcclId unique_id() = 0;     ///< ncclGetUniqueId
  /// ncclCommInitRankConfig with blocking = 0: the group is complete when state() is done. Where the call
  /// fails nothing is left of the communicator.
  virtual NcclComm* init_rank(int ranks, const NcclId& id, int rank) = 0;
  /// ncclCommGetAsyncError: of the last call, and of all that goes on in the background. Any thread.
  virtual NcclState state(NcclComm* communicator) = 0;
  /// ncclAllReduce with ncclFloat32 and ncclAvg, in place: the mean, divided inside the sum.
  virtual void all_reduce_mean(float* data, size_t count, NcclComm* communicator, GpuStream* stream) = 0;
  /// ncclBroadcast from rank 0, with ncclUint8, in place.
  virtual void broadcast(void* data, size_t bytes, NcclComm* communicator, GpuStream* stream) = 0;
  virtual void finalize(NcclComm* communicator) = 0;        ///< ncclCommFinalize; goes on in the background
  virtual void destroy(NcclComm* communicator) = 0;         ///< ncclCommDestroy
  virtual void abort(NcclComm* communicator) noexcept = 0;  ///< ncclCommAbort, from any thread

  /// cudaGetDeviceCount and cudaGetDeviceProperties: of the GPUs that this process may see, in CUDA's order.
  virtual std::vector<std::string> gpu_uuids() = 0;
  virtual std::string gpu_name(int gpu) = 0;  ///< cudaGetDeviceProperties
  virtual void use_gpu(int gpu) = 0;          ///< cudaSetDevice: for the calling thread
  virtual GpuStream* create_stream() = 0;  ///< cudaStreamCreateWithPriority: non-blocking, highest priority
  virtual void destroy_stream(GpuStream* stream) noexcept = 0;
  virtual GpuEvent* create_event() = 0;  ///< cudaEventCreateWithFlags: without timing
  virtual void destroy_event(GpuEvent* event) noexcept = 0;
  virtual void record(GpuEvent* event, GpuStream* stream) = 0;  ///< cudaEventRecord
  virtual void wait(GpuStream* stream, GpuEvent* event) = 0;    ///< cudaStreamWaitEvent
  virtual bool has_happened(GpuEvent* event) = 0;               ///< cudaEventQuery, from any thread
};

/// The libraries themselves; null where the program was built without CUDA.
std::unique_ptr<NcclApi> nccl_library();

}  // namespace diffq
