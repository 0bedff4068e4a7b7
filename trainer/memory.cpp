#include "trainer/memory.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <jemalloc/jemalloc.h>

#include <fstream>
#include <string>

#include "results/records.h"

// A step frees and takes the same large tensors as the one before. Where their pages go back to the system,
// as by default, taking them again is most of the work of a small network: here they stay for the next.
const char* malloc_conf = "oversize_threshold:0,dirty_decay_ms:-1";

namespace diffq {

double peak_memory_mb(at::Device device) {
  if (!device.is_cpu()) {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return static_cast<double>(stats.allocated_bytes[kAll].peak) / (1 << 20);
  }
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib / 1024;
  }
  return kNotApplicable;
}

void reset_peak_memory(at::Device device) {
  if (!device.is_cpu()) {
    at::globalContext().lazyInitDevice(device.type());  // a rank's first use of its GPU may be this
    c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
  }
  // What earlier runs left.
  mallctl(("arena." + std::to_string(MALLCTL_ARENAS_ALL) + ".purge").c_str(), nullptr, nullptr, nullptr, 0);
  std::ofstream clear("/proc/self/clear_refs");
  clear
      << "5";  // resets the high-water mark (man 5 proc); where it can't be written the mark is the process's
}

}  // namespace diffq
