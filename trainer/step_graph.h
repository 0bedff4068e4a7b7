#pragma once
// Work on a GPU that is recorded once and then repeated with one launch: for small models, whose kernels end
// sooner than the host launches the next one.

#include <c10/core/Device.h>
#include <c10/core/StreamGuard.h>

#include <functional>
#include <memory>
#include <optional>

namespace diffq {

class StepGraph {
 public:
  virtual ~StepGraph() = default;
  /// Records what `work` launches on the current stream, which has to be an OwnStream's; nothing of it runs
  /// yet. Throws std::runtime_error where that can't be recorded, as when it waits for the GPU.
  virtual void record(const std::function<void()>& work) = 0;
  /// Launches it, on the current stream: with what the memory holds that it reads, and with torch's generator
  /// as it is now.
  virtual void replay() = 0;
};

using MakeStepGraph = std::unique_ptr<StepGraph> (*)();

/// A CUDA graph. Throws std::runtime_error where this build has no CUDA.
std::unique_ptr<StepGraph> make_cuda_graph();

/// Throws std::runtime_error where a recording of this process has failed: torch leaves its memory and its
/// generator as they are then (pytorch/pytorch#171263), and nothing that comes after can be trusted.
void check_recordings();

/// As long as it lives the thread's current stream is not the default one. Nothing on the CPU.
class OwnStream {
 public:
  explicit OwnStream(at::Device device);

 private:
  std::optional<c10::StreamGuard> guard_;
};

}  // namespace diffq
