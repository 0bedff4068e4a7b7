#include "trainer/task.h"

#include <torch/torch.h>

#include "trainer/models/models.h"

namespace diffq {
namespace {

class ClassificationTask : public Task {
 public:
  ClassificationTask(std::shared_ptr<ImageModel> model, double label_smoothing)
      : model_(std::move(model)), label_smoothing_(label_smoothing) {}

  torch::nn::Module& module() override { return *model_; }

  at::Tensor loss(const Batch& batch) override {
    return at::cross_entropy_loss(model_->forward(batch.input), batch.target, {}, at::Reduction::Mean, -100,
                                  label_smoothing_);
  }

  MetricSums evaluate(const Batch& batch) override {
    const at::Tensor logits = model_->forward(batch.input);
    MetricSums sums;
    sums.loss = at::cross_entropy_loss(logits, batch.target, {}, at::Reduction::Sum).item<double>();
    sums.score = logits.argmax(1).eq(batch.target).sum().item<double>();
    sums.count = static_cast<double>(batch.target.size(0));
    return sums;
  }

  double metric(const MetricSums& sums) const override { return 100 * sums.score / sums.count; }
  std::string benchmark() const override { return "image"; }
  std::string metric_name() const override { return "accuracy %"; }
  bool higher_is_better() const override { return true; }

 private:
  std::shared_ptr<ImageModel> model_;
  double label_smoothing_;
};

}  // namespace

std::unique_ptr<Task> make_task(const ModelSpec& model, const ImageShape& shape, uint64_t seed,
                                double label_smoothing) {
  torch::manual_seed(seed);
  return std::make_unique<ClassificationTask>(make_image_model(model, shape), label_smoothing);
}

}  // namespace diffq
