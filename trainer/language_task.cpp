#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "trainer/models/language_models.h"
#include "trainer/task.h"

namespace diffq {
namespace {

// Evaluation looks at so many tokens at a time: all logits of them are in memory at once.
constexpr int64_t kTokensAtOnce = 4096;

class LanguageTask : public Task {
 public:
  explicit LanguageTask(std::shared_ptr<LanguageModel> model) : model_(std::move(model)) {}

  torch::nn::Module& module() override { return *model_; }
  void begin_step(uint64_t group_seed) override { model_->begin_step(group_seed); }

  at::Tensor loss(const Batch& batch) override {
    const at::Tensor count = batch.target.ne(kNoTarget).sum().to(at::kFloat);  // exact below 2^24
    return model_->forward(batch.input, batch.target, at::kFloat) / count;
  }

  MetricSums evaluate(const Batch& batch) override {
    const int64_t samples = batch.input.size(0);
    const int64_t at_once = std::max<int64_t>(1, kTokensAtOnce / batch.input.size(1));
    MetricSums sums;
    for (int64_t i = 0; i < samples; i += at_once) {
      const int64_t count = std::min(at_once, samples - i);
      sums.loss +=
          model_->forward(batch.input.narrow(0, i, count), batch.target.narrow(0, i, count), at::kDouble)
              .item<double>();
    }
    sums.count = batch.target.ne(kNoTarget).sum().item<double>();
    sums.score = sums.count;
    return sums;
  }

  double metric(const MetricSums& sums) const override { return std::exp(sums.loss / sums.score); }
  std::string benchmark() const override { return "language"; }
  std::string metric_name() const override { return std::string(metric_of(BenchmarkName::language).name); }
  bool higher_is_better() const override { return metric_of(BenchmarkName::language).higher_is_better; }

 private:
  std::shared_ptr<LanguageModel> model_;
};

}  // namespace

std::unique_ptr<Task> make_language_task(const RunSpec& spec, const TextShape& shape) {
  return std::make_unique<LanguageTask>(make_transformer_lm(spec.model, shape));
}

}  // namespace diffq
