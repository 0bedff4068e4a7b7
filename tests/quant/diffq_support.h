#pragma once
// DiffQ set up for tests, and its formulas restated in double.

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "quant/diffq.h"
#include "tests/quant/bound.h"

namespace diffq {

inline MethodSpec diffq_method(int64_t group_size, NoiseKind noise = NoiseKind::gaussian,
                               Parametrisation parametrisation = Parametrisation::bits) {
  MethodSpec method;
  method.method = Method::diffq;
  method.group_size = group_size;
  method.noise = noise;
  method.parametrisation = parametrisation;
  return method;
}

inline Bound<DiffQ> make(const MethodSpec& method, const std::vector<at::Tensor>& weights,
                         CodePath path = best_code_path(), const std::vector<at::Tensor>& kept = {},
                         const QuantSpec& quant = {}) {
  return {std::make_unique<DiffQ>(method, quant, path), weights, kept};
}

inline at::Tensor random_weights(int64_t n, uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn({n}) * 0.3;
}

inline double bits_of_logit(const MethodSpec& method, double logit) {
  const double part = 1 / (1 + std::exp(-logit));
  if (method.parametrisation == Parametrisation::bits)
    return method.max_bits * part + method.min_bits * (1 - part);
  const double low = -std::log(std::exp2(method.min_bits) - 1),
               high = -std::log(std::exp2(method.max_bits) - 1);
  return std::log2(1 + std::exp(-(high * part + low * (1 - part))));
}

/// Σ gradient * w̃: the loss whose derivatives pull_back must give, restated in double.
inline double loss(const MethodSpec& method, const std::vector<double>& weights,
                   const std::vector<double>& logits, const std::vector<double>& noise,
                   const std::vector<double>& gradient) {
  const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
  const size_t group = method.group_size == 0 ? weights.size() : static_cast<size_t>(method.group_size);
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double step = (*high - *low) / (std::exp2(bits_of_logit(method, logits[i / group])) - 1);
    sum += gradient[i] * (weights[i] + step * noise[i]);
  }
  return sum;
}

inline std::vector<double> doubles(const at::Tensor& values) {
  const at::Tensor wide = values.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

/// Central differences of a function of one number.
template <class Function>
double slope(const Function& f, double h) {
  return (f(h) - f(-h)) / (2 * h);
}

}  // namespace diffq
