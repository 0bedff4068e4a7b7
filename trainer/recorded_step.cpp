#include "trainer/recorded_step.h"

#include <ATen/ops/empty_like.h>

#include "trainer/device.h"

namespace diffq {
namespace {

bool same_kind(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type();
}

}  // namespace

bool RecordedStep::fits(const std::vector<Batch>& batches) const {
  if (batches.size() != batches_.size()) return false;
  for (size_t i = 0; i < batches.size(); ++i) {
    if (!same_kind(batches[i].input, batches_[i].input) || !same_kind(batches[i].target, batches_[i].target))
      return false;
  }
  return true;
}

void RecordedStep::begin(const std::vector<Batch>& batches, bool frozen) {
  if (frozen != frozen_ || !fits(batches)) {
    graphs_ = {};
    frozen_ = frozen;
    steps_ = 0;
    batches_.clear();
    const auto place_of = [&](const at::Tensor& tensor) {
      return at::empty_like(tensor, tensor.options().device(device_), at::MemoryFormat::Contiguous);
    };
    for (const Batch& batch : batches) batches_.push_back({place_of(batch.input), place_of(batch.target)});
  }
  ++steps_;
  for (size_t i = 0; i < batches.size(); ++i) {
    const Batch batch = on_device(batches[i], device_);
    batches_[i].input.copy_(batch.input);
    batches_[i].target.copy_(batch.target);
  }
}

void RecordedStep::run(Half half, const std::function<void()>& work) {
  if (steps_ <= kStepsBefore) return work();
  std::unique_ptr<StepGraph>& graph = graphs_[half];
  if (!graph) {
    auto made = make_graph_();
    made->record(work);
    graph = std::move(made);
  }
  graph->replay();
}

}  // namespace diffq
