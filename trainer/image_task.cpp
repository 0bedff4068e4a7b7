#include <torch/torch.h>

#include "trainer/mixup.h"
#include "trainer/models/models.h"
#include "trainer/task.h"

namespace diffq {
namespace {

class ClassificationTask : public Task {
 public:
  ClassificationTask(const RunSpec& spec, const ImageShape& shape)
      : model_(make_image_model(spec.model, shape)),
        classes_(shape.classes),
        label_smoothing_(spec.train.label_smoothing),
        mix_(spec.train.mix) {}

  torch::nn::Module& module() override { return *model_; }

  Batch combine(Batch batch, const BatchPlace& place) const override {
    return mix_batch(std::move(batch), classes_, mix_, place.seed, place.epoch, place.first);
  }

  at::Tensor loss(const Batch& batch) override {
    return at::cross_entropy_loss(model_->forward(batch.input).to(at::kFloat), batch.target, {},
                                  at::Reduction::Mean, -100, label_smoothing_);
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
  std::string metric_name() const override { return std::string(metric_of(BenchmarkName::image).name); }
  bool higher_is_better() const override { return metric_of(BenchmarkName::image).higher_is_better; }

 private:
  std::shared_ptr<ImageModel> model_;
  int64_t classes_;
  double label_smoothing_;
  MixSpec mix_;
};

}  // namespace

std::unique_ptr<Task> make_image_task(const RunSpec& spec, const ImageShape& shape) {
  return std::make_unique<ClassificationTask>(spec, shape);
}

}  // namespace diffq
