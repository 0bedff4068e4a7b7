#include "launcher/nccl_api.h"

#ifdef DIFFQ_WITH_CUDA

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

namespace diffq {
namespace {

static_assert(sizeof(ncclUniqueId) == sizeof(NcclId));

void check(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(code));
}

// A call that goes on in the background has not failed.
void check(ncclResult_t code, const char* call) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  std::string words = ncclGetErrorString(code);
  const std::string last = ncclGetLastError(nullptr);
  if (!last.empty()) words += " (" + last + ")";
  throw std::runtime_error(std::string(call) + ": " + words);
}

ncclComm_t real(NcclComm* communicator) { return reinterpret_cast<ncclComm_t>(communicator); }
cudaStream_t real(GpuStream* stream) { return reinterpret_cast<cudaStream_t>(stream); }
cudaEvent_t real(GpuEvent* event) { return reinterpret_cast<cudaEvent_t>(event); }

std::string text_of(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (size_t i = 0; i < sizeof(uuid.bytes); ++i) {
    char digits[4];
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += digits;
  }
  return text;
}

class NcclLibrary : public NcclApi {
 public:
  std::string version() override {
    int version = 0;  // 22809 is 2.28.9
    check(ncclGetVersion(&version), "ncclGetVersion");
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }
  NcclId unique_id() override {
    ncclUniqueId id{};
    check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    NcclId result;
    std::copy(std::begin(id.internal), std::end(id.internal), result.bytes.begin());
    return result;
  }
  NcclComm* init_rank(int ranks, const NcclId& id, int rank) override {
    ncclUniqueId given{};
    std::copy(id.bytes.begin(), id.bytes.end(), std::begin(given.internal));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t communicator = nullptr;
    const ncclResult_t code = ncclCommInitRankConfig(&communicator, ranks, given, rank, &config);
    if (code != ncclSuccess && code != ncclInProgress && communicator != nullptr) ncclCommAbort(communicator);
    check(code, "ncclCommInitRankConfig");
    return reinterpret_cast<NcclComm*>(communicator);
  }
  NcclState state(NcclComm* communicator) override {
    ncclResult_t code = ncclSuccess;
    check(ncclCommGetAsyncError(real(communicator), &code), "ncclCommGetAsyncError");
    check(code, "NCCL");
    return code == ncclInProgress ? NcclState::in_progress : NcclState::done;
  }
  void all_reduce_mean(float* data, size_t count, NcclComm* communicator, GpuStream* stream) override {
    check(ncclAllReduce(data, data, count, ncclFloat32, ncclAvg, real(communicator), real(stream)),
          "ncclAllReduce");
  }
  void broadcast(void* data, size_t bytes, NcclComm* communicator, GpuStream* stream) override {
    check(ncclBroadcast(data, data, bytes, ncclUint8, 0, real(communicator), real(stream)), "ncclBroadcast");
  }
  void finalize(NcclComm* communicator) override {
    check(ncclCommFinalize(real(communicator)), "ncclCommFinalize");
  }
  void destroy(NcclComm* communicator) override {
    check(ncclCommDestroy(real(communicator)), "ncclCommDestroy");
  }
  void abort(NcclComm* communicator) noexcept override { ncclCommAbort(real(communicator)); }

  std::vector<std::string> gpu_uuids() override {
    int count = 0;
    const cudaError_t code = cudaGetDeviceCount(&count);
    // No GPU, no driver, or only what the toolkit links with where there is no driver.
    const bool none =
        code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver || code == cudaErrorStubLibrary;
    if (!none) check(code, "cudaGetDeviceCount");
    std::vector<std::string> uuids;
    for (int gpu = 0; gpu < count; ++gpu) {
      cudaDeviceProp properties{};
      check(cudaGetDeviceProperties(&properties, gpu), "cudaGetDeviceProperties");
      uuids.push_back(text_of(properties.uuid));
    }
    return uuids;
  }
  std::string gpu_name(int gpu) override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, gpu), "cudaGetDeviceProperties");
    return properties.name;
  }
  void use_gpu(int gpu) override { check(cudaSetDevice(gpu), "cudaSetDevice"); }
  GpuStream* create_stream() override {
    int lowest = 0, highest = 0;
    check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, highest),
          "cudaStreamCreateWithPriority");
    return reinterpret_cast<GpuStream*>(stream);
  }
  void destroy_stream(GpuStream* stream) noexcept override { cudaStreamDestroy(real(stream)); }
  GpuEvent* create_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return reinterpret_cast<GpuEvent*>(event);
  }
  void destroy_event(GpuEvent* event) noexcept override { cudaEventDestroy(real(event)); }
  void record(GpuEvent* event, GpuStream* stream) override {
    check(cudaEventRecord(real(event), real(stream)), "cudaEventRecord");
  }
  void wait(GpuStream* stream, GpuEvent* event) override {
    check(cudaStreamWaitEvent(real(stream), real(event), 0), "cudaStreamWaitEvent");
  }
  bool has_happened(GpuEvent* event) override {
    const cudaError_t code = cudaEventQuery(real(event));
    if (code != cudaErrorNotReady) check(code, "cudaEventQuery");
    return code == cudaSuccess;
  }
};

}  // namespace

std::unique_ptr<NcclApi> nccl_library() { return std::make_unique<NcclLibrary>(); }

}  // namespace diffq

#else

namespace diffq {

std::unique_ptr<NcclApi> nccl_library() { return nullptr; }

}  // namespace diffq

#endif
