#pragma once
// What a run trains and how it is judged: a model with its loss and metric. Metrics are sums and counts until
// the end.

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace torch::nn {
class Module;
}

namespace diffq {

/// Sums that ranks can add up, over samples (pictures) or tokens (text).
struct MetricSums {
  double loss = 0;   ///< sum; text: in nats
  double score = 0;  ///< what the metric is made of: correct pictures; text: tokens
  double count = 0;  ///< pictures; tokens that count
};

/// What the models of a benchmark are judged by.
struct Metric {
  std::string_view name;  ///< with its unit
  bool higher_is_better;
};
constexpr Metric metric_of(BenchmarkName benchmark) {
  switch (benchmark) {
    case BenchmarkName::language:
      return {"perplexity", false};
    case BenchmarkName::audio:
      return {"SDR dB", true};
    default:
      return {"accuracy %", true};
  }
}

/// Where a training batch stands: what its random choices are a function of.
struct BatchPlace {
  uint64_t seed = 0;
  int64_t epoch = 0;
  int64_t first = 0;  ///< place of its first sample in the epoch's order
};

class Task {
 public:
  virtual ~Task() = default;
  virtual torch::nn::Module& module() = 0;
  /// What training does to a batch across its samples, before loss(): mixup.
  virtual Batch combine(Batch batch, const BatchPlace&) const { return batch; }
  /// Comes before the step's batches: a seed that is the same on all ranks, for what they must choose alike
  /// (layer drop).
  virtual void begin_step(uint64_t /*group_seed*/) {}
  /// Mean loss over the batch, with graph; the module is in training mode.
  virtual at::Tensor loss(const Batch& batch) = 0;
  /// Sums over the batch; the module is in evaluation mode, without gradients.
  virtual MetricSums evaluate(const Batch& batch) = 0;
  virtual double metric(const MetricSums& sums) const = 0;
  /// Of what the test samples are where they are whole tracks of music, to be judged by score_track(); null
  /// for data that evaluate() judges.
  virtual const MusicShape* tracks() const { return nullptr; }
  /// SDR, ISR, SIR, SAR (medians over windows of 1 s), utterance-level SDR and L1 loss of each stem of one
  /// track: float64 [stems, 6]. The module is in evaluation mode.
  virtual at::Tensor score_track(const Batch&) { return {}; }

  virtual std::string benchmark() const = 0;    ///< image | language | audio
  virtual std::string metric_name() const = 0;  ///< with its unit: "accuracy %"
  virtual bool higher_is_better() const = 0;
};

/// The task of the run's model, on data of this shape. Initial weights are a function of (seed, model) alone.
/// Throws std::invalid_argument if the model can't take the data.
std::unique_ptr<Task> make_task(const RunSpec& spec, const DataShape& shape);

/// Pictures: cross entropy and accuracy (%). Targets of the training loss are classes, int64 [samples], or
/// probabilities, float32 [samples, classes]; label smoothing is for that loss alone. Initial weights come
/// from torch's default generator.
std::unique_ptr<Task> make_image_task(const RunSpec& spec, const ImageShape& shape);

/// Text: mean negative log-probability of the next token, and perplexity: e to that mean, over words or
/// characters as the data's tokens are; lower is better. Initial weights come from torch's default generator.
std::unique_ptr<Task> make_language_task(const RunSpec& spec, const TextShape& shape);
/// Music: L1 loss, SDR in dB; held-out segments are judged by their utterance-level SDR, test tracks by BSS
/// Eval. Initial weights come from torch's default generator.
std::unique_ptr<Task> make_audio_task(const RunSpec& spec, const MusicShape& shape);

}  // namespace diffq
