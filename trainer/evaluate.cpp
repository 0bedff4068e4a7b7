#include "trainer/evaluate.h"

#include <torch/torch.h>

#include "datasets/loader.h"
#include "datasets/order.h"
#include "trainer/bss_eval.h"
#include "trainer/device.h"

namespace diffq {
namespace {

constexpr int64_t kTrackScores = 6;  // Task::score_track

/// [tracks, stems, scores] of all tracks, on all ranks.
at::Tensor score_tracks(Task& task, const Dataset& data, Communicator& communicator) {
  const int64_t stems = int64_t(task.tracks()->stems.size());
  const at::Tensor scores = at::zeros({data.size(), stems, kTrackScores}, at::kDouble);
  std::string failure;
  try {
    task.module().eval();
    const Slice own = rank_slice(data.size(), communicator.rank(), communicator.size());
    for (int64_t track = own.begin; track < own.end; ++track)
      scores[track].copy_(task.score_track(data.batch({&track, 1}, std::nullopt)));
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  communicator.agree(failure);
  // Zeros elsewhere: the sum is each rank's own, NaN included.
  communicator.sum({scores.mutable_data_ptr<double>(), size_t(scores.numel())});
  return scores;
}

std::vector<TrackRow> track_rows(const MusicShape& music, const at::Tensor& scores) {
  std::vector<TrackRow> rows;
  for (int64_t track = 0; track < scores.size(0); ++track) {
    for (int64_t stem = 0; stem < scores.size(1); ++stem) {
      const double* of = scores[track][stem].const_data_ptr<double>();
      rows.push_back({"", music.tracks.at(track), music.stems.at(stem), of[0], of[1], of[2], of[3], of[4]});
    }
  }
  return rows;
}

}  // namespace

MetricSums evaluate(Task& task, const Dataset& data, const EvalSpec& spec, int workers,
                    Communicator& communicator) {
  torch::NoGradGuard no_grad;
  std::string failure;
  double sums[3] = {0, 0, 0};
  try {
    task.module().eval();
    const at::Device device = device_of(task.module());
    Loader loader(data,
                  evaluation_batches(data.size(), spec.batch_size, communicator.rank(), communicator.size()),
                  std::nullopt, workers);
    while (const auto batch = loader.next()) {
      const MetricSums part = task.evaluate(on_device(*batch, device));
      sums[0] += part.loss;
      sums[1] += part.score;
      sums[2] += part.count;
    }
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  communicator.agree(failure);
  communicator.sum(sums);
  return {sums[0], sums[1], sums[2]};
}

TestResult evaluate_test(Task& task, const Dataset& data, const EvalSpec& spec, int workers,
                         Communicator& communicator) {
  if (!task.tracks()) {
    const MetricSums sums = evaluate(task, data, spec, workers, communicator);
    return {task.metric(sums), sums.loss / sums.count, sums.count};
  }
  torch::NoGradGuard no_grad;
  const at::Tensor scores = score_tracks(task, data, communicator);
  double metric = 0;
  for (const at::Tensor& stem : scores.unbind(1))
    metric += median_score(stem.select(1, 0)) / double(scores.size(1));
  return {metric, scores.select(2, kTrackScores - 1).mean().item<double>(), double(data.size()),
          track_rows(*task.tracks(), scores)};
}

}  // namespace diffq
