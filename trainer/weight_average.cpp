#include "trainer/weight_average.h"

#include <torch/torch.h>

namespace diffq {

WeightAverage::WeightAverage(const ParameterStore& store, double decay) : decay_(decay) {
  const auto follow = [&](const std::string& name, const at::Tensor& value) {
    values_.push_back(value);
    averages_.emplace_back(name, value.clone());
  };
  follow("master", store.master());
  follow("own", store.own());
  for (const auto& buffer : store.buffers()) follow(buffer.name, buffer.tensor);
}

void WeightAverage::update() {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < values_.size(); ++i) averages_[i].second.lerp_(values_[i], 1 - decay_);
}

void WeightAverage::update(const at::Tensor& updated) {
  torch::NoGradGuard no_grad;
  // A skipped step leaves only finite values: 0 times their difference is 0.
  const at::Tensor weight = updated * (1 - decay_);
  for (size_t i = 0; i < values_.size(); ++i) averages_[i].second.lerp_(values_[i], weight);
}

void WeightAverage::restart_own() {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < values_.size(); ++i) {
    if (averages_[i].first == "own") averages_[i].second.copy_(values_[i]);
  }
}

void WeightAverage::swap() {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < values_.size(); ++i) {
    const at::Tensor value = values_[i].clone();
    values_[i].copy_(averages_[i].second);
    averages_[i].second.copy_(value);
  }
}

}  // namespace diffq
