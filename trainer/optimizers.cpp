#include "trainer/optimizers.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

namespace diffq {
namespace {

constexpr int64_t kGrain = 32768;

OptimizerLaw law_of(const OptimizerSpec& spec) {
  OptimizerLaw law;
  law.adam = !is_sgd(spec.name);
  law.decoupled = spec.name == OptimizerName::adamw || spec.name == OptimizerName::nag;
  law.nesterov = spec.nesterov || spec.name == OptimizerName::nag;
  law.weight_decay = spec.weight_decay;
  law.momentum = spec.momentum;
  law.beta1 = spec.beta1;
  law.beta2 = spec.beta2;
  law.epsilon = spec.epsilon;
  return law;
}

}  // namespace

Optimizer::Optimizer(const OptimizerSpec& spec, std::vector<OptimizerRange> ranges)
    : law_(law_of(spec)), ranges_(std::move(ranges)) {
  int64_t count = 0;
  for (const OptimizerRange& range : ranges_) {
    state_offsets_.push_back(count);
    count += range.values.numel();
  }
  if (ranges_.empty()) return;
  const auto options = ranges_.front().values.options();
  if (law_.adam || law_.momentum != 0) first_ = at::zeros({count}, options);
  if (law_.adam) second_ = at::zeros({count}, options);
}

void Optimizer::step(double lr, double gradient_scale) {
  const OptimizerRule constants = make_rule(law_, lr, gradient_scale, ++steps_);
  for (size_t r = 0; r < ranges_.size(); ++r) {
    float* value = ranges_[r].values.mutable_data_ptr<float>();
    const float* gradient = ranges_[r].gradient.const_data_ptr<float>();
    float* first = first_.defined() ? first_.mutable_data_ptr<float>() + state_offsets_[r] : nullptr;
    float* second = second_.defined() ? second_.mutable_data_ptr<float>() + state_offsets_[r] : nullptr;
    at::parallel_for(0, ranges_[r].values.numel(), kGrain, [&](int64_t begin, int64_t end) {
      const OptimizerRule rule = constants;  // a copy that the loops can't change: they vectorise
      if (second != nullptr) {
        for (int64_t i = begin; i < end; ++i) rule.adam(value[i], gradient[i], first[i], second[i]);
      } else if (first != nullptr) {
        for (int64_t i = begin; i < end; ++i) rule.sgd(value[i], gradient[i], first[i]);
      } else {
        for (int64_t i = begin; i < end; ++i) rule.sgd(value[i], gradient[i]);
      }
    });
  }
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  if (second_.defined()) return {{"exp_avg", first_}, {"exp_avg_sq", second_}};
  if (first_.defined()) return {{"momentum", first_}};
  return {};
}

}  // namespace diffq
