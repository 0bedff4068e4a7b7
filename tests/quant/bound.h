#pragma once
// A quantizer with memory to work on, as the parameter store would give it.

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quant/quantizer.h"

namespace diffq {

inline at::Tensor tensor_of(const std::vector<float>& values) {
  return at::tensor(at::ArrayRef<float>(values), at::kFloat);
}

inline std::string numbered(const char* word, size_t number) {
  std::string name = word;  // not word + …: GCC 12 warns of what that is inlined to
  return name += std::to_string(number);
}

/// The views of one quantised tensor of these weights.
inline QuantizedTensor make_quantized(const Quantizer& quantizer, const std::string& name,
                                      const at::Tensor& weights) {
  QuantizedTensor tensor;
  tensor.name = name;
  tensor.master = weights.flatten().clone();
  tensor.compute = at::full_like(tensor.master, -777);
  tensor.gradient = at::zeros_like(tensor.master);
  tensor.own = at::zeros({quantizer.own_count(weights.numel())}, weights.options());
  tensor.own_gradient = at::full_like(tensor.own, -777);
  tensor.channels = weights.dim() > 1 ? weights.size(0) : 1;
  return tensor;
}

/// Quantised tensors "t0", "t1", … and their quantizer, bound and initialised.
template <class Method>
struct Bound {
  std::unique_ptr<Method> quantizer;
  std::vector<QuantizedTensor> tensors;
  std::vector<KeptTensor> kept;

  Bound(std::unique_ptr<Method> made, const std::vector<at::Tensor>& weights,
        const std::vector<at::Tensor>& others = {})
      : quantizer(std::move(made)) {
    for (size_t t = 0; t < weights.size(); ++t) {
      tensors.push_back(make_quantized(*quantizer, numbered("t", t), weights[t]));
    }
    for (size_t t = 0; t < others.size(); ++t) {
      const at::Tensor master = others[t].flatten().clone();
      kept.push_back({numbered("k", t), master, quantizer->copies_kept() ? at::zeros_like(master) : master});
    }
    quantizer->bind(tensors, kept);
    quantizer->initialize_own();
  }

  void pull_back() {
    std::vector<size_t> all(tensors.size());
    for (size_t t = 0; t < all.size(); ++t) all[t] = t;
    quantizer->pull_back(all);
  }
};

/// max|a - b| / max|b|
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() != b.numel()) return 1e300;
  const at::Tensor wide_a = a.flatten().cpu().to(at::kDouble), wide_b = b.flatten().cpu().to(at::kDouble);
  const double size = wide_b.abs().max().item<double>(),
               difference = (wide_a - wide_b).abs().max().item<double>();
  return size > 0 ? difference / size : difference;
}

}  // namespace diffq
