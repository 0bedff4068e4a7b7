#include "trainer/step_graph.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>
#include <stdexcept>
#include <string>

#ifdef DIFFQ_WITH_CUDA
#include <ATen/cuda/CUDAGraph.h>
#endif

namespace diffq {
namespace {

std::atomic<bool> recording_failed = false;

}  // namespace

#ifdef DIFFQ_WITH_CUDA
namespace {

class CudaGraph : public StepGraph {
 public:
  void record(const std::function<void()>& work) override {
    // A recording has memory of its own, and nothing that was kept for later is freed while it lasts.
    c10::getDeviceAllocator(at::kCUDA)->emptyCache();
    // Of this thread: another one may wait for its own stream meanwhile.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
      graph_.capture_end();
    } catch (const std::exception& error) {
      recording_failed = true;
      end_quietly();
      const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
      throw std::runtime_error(std::string("cuda_graph: a step can't be recorded, leave it out: ") +
                               (of_torch ? of_torch->what_without_backtrace() : error.what()));
    }
  }
  void replay() override { graph_.replay(); }

 private:
  void end_quietly() {
    try {
      graph_.capture_end();
    } catch (const c10::Error&) {  // of what broke the recording, which is thrown already
    }
  }

  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<StepGraph> make_cuda_graph() { return std::make_unique<CudaGraph>(); }
#else
std::unique_ptr<StepGraph> make_cuda_graph() {
  throw std::runtime_error("this program was built without CUDA: it trains on the CPU alone");
}
#endif

void check_recordings() {
  if (recording_failed)
    throw std::runtime_error(
        "a step could not be recorded before in this process (cuda_graph); start the same command again, "
        "with --retry-failed");
}

OwnStream::OwnStream(at::Device device) {
  if (device.is_cpu()) return;
  // Always the same one: memory that is kept for later is kept for a stream. A process has but one GPU.
  static const c10::Stream stream =
      c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  guard_.emplace(stream);
}

}  // namespace diffq
