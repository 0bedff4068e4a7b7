#include "launcher/sweep_warnings.h"

#include <algorithm>
#include <cstdio>

#include "datasets/order.h"
#include "quant/quantizer.h"

namespace diffq {
namespace {

/// A logit moves by at most bits_lr a step; half of the way from 8 to 2 bits of 15 is more than 1.
constexpr double kLeastWay = 1;

std::string bits_that_stay(const Run& run, const DataSummary& data) {
  const MethodSpec& method = run.spec.method;
  const int64_t steps = steps_per_epoch(data.train, run.spec.train.batch_size) * run.spec.train.epochs;
  const double way = static_cast<double>(steps) * method.bits_lr;
  if (method.method != Method::diffq || steps == 0 || way >= kLeastWay) return "";
  char text[240];
  std::snprintf(
      text, sizeof text,
      "%lld steps with bits_lr %g move a logit of the bits by at most %.2g: they stay near init_bits "
      "whatever λ is; choose bits_lr so that steps · bits_lr is 4 to 8",
      static_cast<long long>(steps), method.bits_lr, way);
  return run.origin + ": " + text;
}

bool any_selected(const Quantizer& quantizer, const std::vector<TensorName>& tensors) {
  return std::ranges::any_of(
      tensors, [&](const auto& tensor) { return quantizer.selects(tensor.name, tensor.numel); });
}

/// Whether the glob is the name of any tensor, however small.
bool matches_any(const std::string& glob, const std::vector<TensorName>& tensors) {
  MethodSpec any;
  any.method = Method::qat;
  any.bits = 8;
  QuantSpec quant;
  quant.min_size_mb = 0;
  const auto all = make_quantizer(any, quant);
  quant.exclude = {glob};
  const auto others = make_quantizer(any, quant);
  return std::ranges::any_of(tensors, [&](const auto& tensor) {
    return all->selects(tensor.name, tensor.numel) && !others->selects(tensor.name, tensor.numel);
  });
}

}  // namespace

std::vector<std::string> warnings_of(const Run& run, const DataSummary& data,
                                     const std::vector<TensorName>& tensors) {
  std::vector<std::string> warnings;
  if (const std::string bits = bits_that_stay(run, data); !bits.empty()) warnings.push_back(bits);
  const std::string where = benchmark_of(run) + ".quant";
  for (const std::string& glob : run.spec.quant.exclude) {
    if (!matches_any(glob, tensors))
      warnings.push_back(where + ".exclude: \"" + glob +
                         "\" is the name of no weight; `diffq inspect` lists those of a trained model");
  }
  if (run.spec.method.method != Method::fp32 &&
      !any_selected(*make_quantizer(run.spec.method, run.spec.quant), tensors))
    warnings.push_back(where + ": no tensor is left to quantise; exclude fewer, or lower min_size_mb");
  return warnings;
}

}  // namespace diffq
