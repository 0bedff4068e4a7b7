#include "tests/support/gpu_trace.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>

namespace diffq {
namespace {

namespace impl = torch::profiler::impl;
namespace profiler = torch::autograd::profiler;

}  // namespace

GpuTrace::GpuTrace() {
  const impl::ProfilerConfig config(impl::ProfilerState::KINETO);
  const std::set<impl::ActivityType> activities{impl::ActivityType::CPU, impl::ActivityType::CUDA};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities, {at::RecordScope::FUNCTION});
  running_ = true;
}

GpuTrace::~GpuTrace() {
  if (running_) profiler::disableProfiler();
}

std::vector<GpuWork> GpuTrace::end(const std::string& file) {
  running_ = false;
  const auto result = profiler::disableProfiler();
  if (!file.empty()) result->save(file);
  std::vector<GpuWork> all;
  for (const profiler::KinetoEvent& event : result->events()) {
    if (event.deviceType() == c10::DeviceType::CUDA)
      all.push_back({event.name(), event.deviceResourceId(), event.startNs(), event.endNs()});
  }
  std::ranges::sort(all, {}, &GpuWork::begin);
  return all;
}

}  // namespace diffq
