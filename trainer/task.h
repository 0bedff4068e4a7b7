#pragma once
// What a run trains and how it is judged: a model with its loss and metric. Metrics are sums and counts until
// the end.

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <string>

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace torch::nn {
class Module;
}

namespace diffq {

/// Sums over samples that ranks can add up.
struct MetricSums {
  double loss = 0;   ///< sum over samples
  double score = 0;  ///< what the metric is made of: correct samples
  double count = 0;  ///< samples
};

class Task {
 public:
  virtual ~Task() = default;
  virtual torch::nn::Module& module() = 0;
  /// Mean loss over the batch, with graph; the module is in training mode.
  virtual at::Tensor loss(const Batch& batch) = 0;
  /// Sums over the batch; the module is in evaluation mode, without gradients.
  virtual MetricSums evaluate(const Batch& batch) = 0;
  virtual double metric(const MetricSums& sums) const = 0;

  virtual std::string benchmark() const = 0;    ///< image | language | audio
  virtual std::string metric_name() const = 0;  ///< with its unit: "accuracy %"
  virtual bool higher_is_better() const = 0;
};

/// Cross entropy and accuracy (%). Initial weights are a function of (seed, model) alone. Targets of the
/// training loss are classes, int64 [samples], or probabilities, float32 [samples, classes];
/// `label_smoothing` is for that loss alone.
std::unique_ptr<Task> make_task(const ModelSpec& model, const ImageShape& shape, uint64_t seed,
                                double label_smoothing = 0);

}  // namespace diffq
