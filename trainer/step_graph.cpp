#include "trainer/step_graph.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <stdexcept>
#include <string>

#ifdef DIFFQ_WITH_CUDA
#include <ATen/cuda/CUDAGraph.h>
#endif

namespace diffq {

#ifdef DIFFQ_WITH_CUDA
namespace {

class CudaGraph : public StepGraph {
 public:
  void record(const std::function<void()>& work) override {
    // Of this thread: another one may wait for its own stream meanwhile.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
      graph_.capture_end();
    } catch (const c10::Error& error) {
      end_quietly();
      throw std::runtime_error(std::string("cuda_graph: a step can't be recorded, leave it out: ") +
                               error.what_without_backtrace());
    } catch (...) {
      end_quietly();
      throw;
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

OwnStream::OwnStream(at::Device device) {
  if (!device.is_cpu()) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard_.emplace(guard.getStreamFromGlobalPool(guard.getDevice()));
  }
}

}  // namespace diffq
