#include <torch/torch.h>

#include "trainer/bss_eval.h"
#include "trainer/device.h"
#include "trainer/models/demucs.h"
#include "trainer/remix.h"
#include "trainer/separate.h"
#include "trainer/task.h"

namespace diffq {
namespace {

class SeparationTask : public Task {
 public:
  SeparationTask(const RunSpec& spec, const MusicShape& shape)
      : model_(std::make_shared<Demucs>(spec.model.demucs, int64_t(shape.stems.size()), shape.channels)),
        shape_(shape),
        separation_(spec.eval.separation.value_or(SeparationSpec{})),
        batch_size_(spec.eval.batch_size),
        remix_group_(spec.data.music.augment.remix_group) {}

  torch::nn::Module& module() override { return *model_; }

  Batch combine(Batch batch, const BatchPlace& place) const override {
    return remix(std::move(batch), remix_group_, place.seed, place.epoch, place.first);
  }

  at::Tensor loss(const Batch& batch) override {
    return at::l1_loss(model_->forward(batch.input), batch.target);
  }

  /// Segments: the utterance-level SDR, which takes no filters.
  MetricSums evaluate(const Batch& batch) override {
    const at::Tensor stems = model_->forward(batch.input);
    MetricSums sums;
    for (int64_t i = 0; i < stems.size(0); ++i) {
      sums.loss += at::l1_loss(stems[i], batch.target[i]).item<double>();
      sums.score += utterance_sdr(batch.target[i], stems[i]).mean().item<double>();
    }
    sums.count = double(stems.size(0));
    return sums;
  }

  double metric(const MetricSums& sums) const override { return sums.score / sums.count; }
  const MusicShape* tracks() const override { return &shape_; }

  at::Tensor score_track(const Batch& batch) override {
    const at::Tensor truth = batch.target[0];
    // The track stays in the host's memory: only the segments go through the model's device.
    const at::Device device = device_of(*model_);
    const Separator model = [&](const at::Tensor& part) { return model_->forward(part.to(device)).cpu(); };
    const at::Tensor stems =
        separate(model, batch.input[0], separation_, {shape_.rate, shape_.segment, batch_size_});
    const BssScores scores = bss_eval(truth, stems, {.window = shape_.rate, .hop = shape_.rate});
    std::vector<at::Tensor> columns;
    for (const at::Tensor& windows : {scores.sdr, scores.isr, scores.sir, scores.sar}) {
      std::vector<double> medians;
      for (const at::Tensor& stem : windows.unbind()) medians.push_back(median_score(stem));
      columns.push_back(torch::tensor(medians, at::kDouble));
    }
    columns.push_back(utterance_sdr(truth, stems));
    columns.push_back((truth - stems).abs().mean({1, 2}).to(at::kDouble));
    return at::stack(columns, 1);
  }

  std::string benchmark() const override { return "audio"; }
  std::string metric_name() const override { return std::string(metric_of(BenchmarkName::audio).name); }
  bool higher_is_better() const override { return metric_of(BenchmarkName::audio).higher_is_better; }

 private:
  std::shared_ptr<Demucs> model_;
  MusicShape shape_;
  SeparationSpec separation_;
  int64_t batch_size_, remix_group_;
};

}  // namespace

std::unique_ptr<Task> make_audio_task(const RunSpec& spec, const MusicShape& shape) {
  return std::make_unique<SeparationTask>(spec, shape);
}

}  // namespace diffq
