#include "trainer/optimizers.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include <cmath>

namespace diffq {
namespace {

constexpr int64_t kGrain = 32768;

struct SgdStep {
  float lr, scale, coupled_decay, decay_factor, momentum;
  bool nesterov;
  void operator()(float* value, const float* gradient, float* velocity, int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i] * scale + coupled_decay * value[i];
      const float v = momentum * velocity[i] + g;
      velocity[i] = v;
      value[i] = decay_factor * value[i] - lr * (nesterov ? g + momentum * v : v);
    }
  }
  void without_momentum(float* value, const float* gradient, int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i] * scale + coupled_decay * value[i];
      value[i] = decay_factor * value[i] - lr * g;
    }
  }
};

struct AdamStep {
  float step_size, scale, coupled_decay, decay_factor, beta1, beta2, epsilon, sqrt_correction2;
  void operator()(float* value, const float* gradient, float* mean, float* square, int64_t begin,
                  int64_t end) const {
    for (int64_t i = begin; i < end; ++i) {
      const float decayed = value[i] * decay_factor;
      const float g = gradient[i] * scale + coupled_decay * value[i];
      mean[i] += (1 - beta1) * (g - mean[i]);
      square[i] = beta2 * square[i] + (1 - beta2) * g * g;
      value[i] = decayed - step_size * mean[i] / (std::sqrt(square[i]) / sqrt_correction2 + epsilon);
    }
  }
};

}  // namespace

Optimizer::Optimizer(const OptimizerSpec& spec, std::vector<OptimizerRange> ranges)
    : spec_(spec), ranges_(std::move(ranges)) {
  int64_t count = 0;
  for (const OptimizerRange& range : ranges_) {
    state_offsets_.push_back(count);
    count += range.values.numel();
  }
  if (ranges_.empty()) return;
  const auto options = ranges_.front().values.options();
  const bool adam = !is_sgd(spec.name);
  if (adam || spec.momentum != 0) first_ = at::zeros({count}, options);
  if (adam) second_ = at::zeros({count}, options);
}

void Optimizer::step(double lr, double gradient_scale) {
  ++steps_;
  const float scale = static_cast<float>(gradient_scale);
  const bool decoupled = spec_.name == OptimizerName::adamw || spec_.name == OptimizerName::nag;
  const float coupled_decay = decoupled ? 0.0f : static_cast<float>(spec_.weight_decay);
  const float decay_factor = decoupled ? static_cast<float>(1 - lr * spec_.weight_decay) : 1.0f;
  for (size_t r = 0; r < ranges_.size(); ++r) {
    float* value = ranges_[r].values.mutable_data_ptr<float>();
    const float* gradient = ranges_[r].gradient.const_data_ptr<float>();
    float* first = first_.defined() ? first_.mutable_data_ptr<float>() + state_offsets_[r] : nullptr;
    float* second = second_.defined() ? second_.mutable_data_ptr<float>() + state_offsets_[r] : nullptr;
    const int64_t count = ranges_[r].values.numel();
    if (is_sgd(spec_.name)) {
      SgdStep sgd{};
      sgd.lr = static_cast<float>(lr);
      sgd.scale = scale;
      sgd.coupled_decay = coupled_decay;
      sgd.decay_factor = decay_factor;
      sgd.momentum = static_cast<float>(spec_.momentum);
      sgd.nesterov = spec_.nesterov || spec_.name == OptimizerName::nag;
      at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
        if (first != nullptr) {
          sgd(value, gradient, first, begin, end);
        } else {
          sgd.without_momentum(value, gradient, begin, end);
        }
      });
      continue;
    }
    const double t = static_cast<double>(steps_);
    AdamStep adam{};
    adam.step_size = static_cast<float>(lr / (1 - std::pow(spec_.beta1, t)));
    adam.scale = scale;
    adam.coupled_decay = coupled_decay;
    adam.decay_factor = decay_factor;
    adam.beta1 = static_cast<float>(spec_.beta1);
    adam.beta2 = static_cast<float>(spec_.beta2);
    adam.epsilon = static_cast<float>(spec_.epsilon);
    adam.sqrt_correction2 = static_cast<float>(std::sqrt(1 - std::pow(spec_.beta2, t)));
    at::parallel_for(0, count, kGrain,
                     [&](int64_t begin, int64_t end) { adam(value, gradient, first, second, begin, end); });
  }
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  if (second_.defined()) return {{"exp_avg", first_}, {"exp_avg_sq", second_}};
  if (first_.defined()) return {{"momentum", first_}};
  return {};
}

}  // namespace diffq
