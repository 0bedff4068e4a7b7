#pragma once
// What a GPU does, and when: kernels and copies with their times, by torch's own profiler.

#include <cstdint>
#include <string>
#include <vector>

namespace diffq {

struct GpuWork {
  std::string name;             ///< of the kernel or copy
  int64_t stream = 0;           ///< number that the profiler gives it
  uint64_t begin = 0, end = 0;  ///< ns
};

/// Records from its making until end(), on the thread that makes it. One at a time.
class GpuTrace {
 public:
  GpuTrace();
  ~GpuTrace();
  GpuTrace(const GpuTrace&) = delete;
  GpuTrace& operator=(const GpuTrace&) = delete;
  /// All work, by begin; call it when the GPU has done it. Also written to `file`, for chrome://tracing,
  /// unless that is empty.
  std::vector<GpuWork> end(const std::string& file = "");

 private:
  bool running_ = false;
};

}  // namespace diffq
