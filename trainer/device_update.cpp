#include "trainer/device_update.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>

#include "quant/device_memory.h"

namespace diffq {

#ifndef DIFFQ_WITH_CUDA
const UpdateKernels& cuda_update_kernels() {
  throw std::runtime_error("this program was built without CUDA: it trains on the CPU alone");
}
#endif

DeviceUpdate::DeviceUpdate(const ParameterStore& store, Optimizer& weights, Optimizer& own,
                           const at::Tensor& old_buffers, double divisor, double max_norm,
                           const UpdateKernels& kernels)
    : weights_(weights), own_(own), kernels_(kernels), device_(store.master().device()) {
  table_.weights = weights.law();
  table_.own = own.law();
  table_.divisor = divisor;
  table_.max_norm = max_norm;
  fill_table(store, old_buffers);
  for (Slot& slot : slots_) {
    slot.bytes = at::empty({sizeof(UpdateReport)},
                           at::TensorOptions().dtype(at::kByte).pinned_memory(!device_.is_cpu()));
    if (!device_.is_cpu()) slot.sent.emplace(device_.type());
  }
  send_steps();
}

void DeviceUpdate::add_ranges(const std::vector<OptimizerRange>& ranges) {
  int64_t state_offset = 0;
  for (const OptimizerRange& range : ranges) {
    const int64_t numel = range.values.numel();
    append_chunks(static_cast<int32_t>(ranges_.size()), numel, chunks_);
    ranges_.push_back({range.values.mutable_data_ptr<float>(), range.gradient.const_data_ptr<float>(), numel,
                       state_offset});
    state_offset += numel;
  }
}

void DeviceUpdate::fill_table(const ParameterStore& store, const at::Tensor& old_buffers) {
  const auto count = [&] { return static_cast<int32_t>(chunks_.size()); };
  add_ranges(weights_.ranges());
  table_.weight_chunks = count();
  add_ranges(own_.ranges());
  table_.own_chunks = count() - table_.weight_chunks;
  std::vector<OptimizerRange> buffers;
  int64_t offset = 0;
  for (const auto& buffer : store.buffers()) {
    const int64_t numel = buffer.tensor.numel();
    buffers.push_back({buffer.tensor.view({-1}), old_buffers.narrow(0, offset, numel)});
    offset += numel;
  }
  add_ranges(buffers);
  table_.buffer_chunks = count() - table_.weight_chunks - table_.own_chunks;

  const auto moments = [](const Optimizer& optimizer) {
    Moments moments{};
    const auto state = optimizer.state();
    if (!state.empty()) moments.first = state[0].second.mutable_data_ptr<float>();
    if (state.size() > 1) moments.second = state[1].second.mutable_data_ptr<float>();
    return moments;
  };
  table_.weight_moments = moments(weights_);
  table_.own_moments = moments(own_);

  const auto options = store.master().options();
  state_ = at::zeros({sizeof(UpdateState)}, options.dtype(at::kByte));
  table_memory_ = {upload(ranges_, device_), upload(chunks_, device_),
                   at::zeros({table_.weight_chunks + table_.own_chunks}, options.dtype(at::kDouble))};
  table_.ranges = static_cast<const UpdateRange*>(table_memory_[0].const_data_ptr());
  table_.chunks = static_cast<const Stretch*>(table_memory_[1].const_data_ptr());
  table_.sums = table_memory_[2].mutable_data_ptr<double>();
  table_.tail = store.loss_tail().const_data_ptr<float>();
  table_.state = static_cast<UpdateState*>(state_.mutable_data_ptr());
}

at::Tensor DeviceUpdate::report_bytes() const {
  return state_.narrow(0, offsetof(UpdateState, report), sizeof(UpdateReport));
}

/// Of a checkpoint, or 0.
void DeviceUpdate::send_steps() {
  UpdateReport report{};
  report.weights_steps = weights_.steps();
  report.own_steps = own_.steps();
  report_bytes().copy_(upload(std::vector{report}, device_));
}

void DeviceUpdate::begin(double lr, double own_lr) {
  if (sent_ == 0) send_steps();
  kernels_.begin(table_, lr, own_lr, current_stream(device_));
}

void DeviceUpdate::judge() { kernels_.judge(table_, current_stream(device_)); }

void DeviceUpdate::update() { kernels_.update(table_, current_stream(device_)); }

void DeviceUpdate::send() {
  Slot& slot = slots_[static_cast<size_t>(sent_++ % 2)];
  slot.bytes.copy_(report_bytes(), /*non_blocking=*/true);
  if (slot.sent) slot.sent->record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
}

UpdateReport DeviceUpdate::peek() {
  Slot& slot = slots_[static_cast<size_t>(read_ % 2)];
  if (slot.sent) slot.sent->synchronize();
  UpdateReport report{};
  std::memcpy(&report, slot.bytes.const_data_ptr(), sizeof report);
  weights_.set_steps(report.weights_steps);
  own_.set_steps(report.own_steps);
  return report;
}

UpdateReport DeviceUpdate::read() {
  const UpdateReport report = peek();
  ++read_;
  return report;
}

at::Tensor DeviceUpdate::updated() const {
  constexpr auto kSkip = static_cast<int64_t>(offsetof(UpdateState, report) + offsetof(UpdateReport, skip));
  static_assert(kSkip % sizeof(int32_t) == 0);
  return state_.narrow(0, kSkip, sizeof(int32_t)).view(at::kInt).eq(0).to(at::kFloat);
}

}  // namespace diffq
