#pragma once
// Memory of a process. All that is linked with this library takes it from jemalloc, set to keep what is freed
// for what is taken next (the environment's MALLOC_CONF overrides): steps are faster than with glibc's
// malloc, and a run that is repeated takes the same memory again, mostly less (docs/performance.md).

#include <ATen/Device.h>

namespace diffq {

/// Largest memory since reset_peak_memory(), in MB of 2^20 bytes: resident memory of this process (Linux; NaN
/// elsewhere), or what torch gave out of a GPU's.
double peak_memory_mb(at::Device device = at::kCPU);
void reset_peak_memory(at::Device device = at::kCPU);

}  // namespace diffq
