#include "trainer/train_run.h"

#include <torch/torch.h>

#include <array>
#include <chrono>
#include <optional>

#include "datasets/loader.h"
#include "datasets/order.h"
#include "trainer/bits_control.h"
#include "trainer/device.h"
#include "trainer/evaluate.h"
#include "trainer/memory.h"
#include "trainer/model_file.h"
#include "trainer/rank_check.h"
#include "trainer/recalibrate.h"
#include "trainer/run_checkpoints.h"
#include "trainer/run_measures.h"
#include "trainer/run_record.h"
#include "trainer/schedule.h"
#include "trainer/step_graph.h"
#include "trainer/train_step.h"
#include "trainer/weight_average.h"

namespace diffq {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Initial weights are drawn on the CPU, whatever trains them.
std::unique_ptr<Task> make_task_on(at::Device device, const RunSpec& spec, const DataShape& shape) {
  prepare_device(device, spec.train.algorithms);
  auto task = make_task(spec, shape);
  if (!device.is_cpu()) task->module().to(device);
  return task;
}

BucketLimits bucket_limits(const TrainSpec& train) {
  return {.first_bytes = train.first_bucket_mb << 20, .bytes = train.bucket_mb << 20};
}

// All that one run works on, built in the only order that works (see ARCHITECTURE in docs/): model,
// quantizer, flat buffers, hooks, optimisers.
class Training {
 public:
  Training(const RunSpec& spec, const DataSplits& data, Communicator& communicator, const RunContext& context)
      : spec_(spec),
        data_(data),
        communicator_(communicator),
        context_(context),
        run_key_(std::stoull(context.run_id, nullptr, 16)),
        task_(make_task_on(context.device, spec, data.shape)),
        quantizer_(make_quantizer(spec.method, spec.quant, context.device)),
        store_(task_->module(), *quantizer_, bucket_limits(spec.train), spec.train.precision) {}

  RunRecord run();

 private:
  void prepare();
  template <class Work>
  void alone(const Work& work);
  void agree() { communicator_.agree(failure_); }
  void restore();
  EpochRow train_epoch();
  void take(const StepResult& result);
  void update_average(const std::optional<StepResult>& result);
  void compare_ranks();
  void keep_checkpoint(bool wanted);
  [[noreturn]] void stop();
  void swap_averages();
  void round_weights();
  MetricSums measure(const Dataset& data);
  void measure_test();
  void finish_record();

  const RunSpec& spec_;
  const DataSplits& data_;
  Communicator& communicator_;
  const RunContext& context_;
  uint64_t run_key_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Quantizer> quantizer_;
  ParameterStore store_;
  std::optional<GradientBuckets> buckets_;
  std::optional<TrainStep> step_;
  std::optional<BitsControl> control_;
  std::optional<WeightAverage> average_;
  std::optional<RankCheck> rank_check_;  ///< where there is more than one
  RunRecord record_;
  TrainingState state_;
  std::optional<RunCheckpoints> checkpoints_;
  std::string failure_;  ///< of this rank, not yet known to the group
};

// What may fail on this rank alone, between two meetings of the group. A rank that left at once would keep
// the others waiting: it goes on to the next step or agree(), where all leave together.
template <class Work>
void Training::alone(const Work& work) {
  try {
    work();
  } catch (const RunFailure&) {
    throw;  // known to all
  } catch (const std::exception& error) {
    failure_ = reason_of(error);
  }
}

// Same start on every rank, whatever file or generator it came from.
void Training::prepare() {
  alone([&] {
    if (context_.start_file.empty()) return;
    const PackedModel file = PackedModel::read(context_.start_file);
    try {
      load_masters(file, task_->module(), store_);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(context_.start_file + ": " + error.what());
    }
  });
  agree();
  communicator_.broadcast(store_.master());
  for (const auto& buffer : store_.buffers()) communicator_.broadcast(buffer.tensor);
  alone([&] {
    quantizer_->initialize_own();
    control_.emplace(spec_.method, *quantizer_,
                     steps_per_epoch(data_.train->size(), spec_.train.batch_size) * spec_.train.epochs);
    state_.penalty = control_->start_strength();
    buckets_.emplace(store_, *quantizer_, communicator_);
    step_.emplace(spec_, run_key_, *task_, store_, *quantizer_, *buckets_, communicator_,
                  context_.device.is_cpu() ? context_.kernels : &cuda_update_kernels(),
                  context_.device.is_cpu() ? context_.make_graph : make_cuda_graph);
    if (spec_.train.ema > 0) average_.emplace(store_, spec_.train.ema);
    if (communicator_.size() > 1 && spec_.train.rank_check_steps > 0) rank_check_.emplace(store_);
    checkpoints_.emplace(spec_, context_, communicator_, store_, *step_, average_ ? &*average_ : nullptr);
  });
  agree();
  restore();
}

void Training::restore() {
  TrainingCheckpoints::Restored restored = checkpoints_->restore();
  alone([&] { checkpoints_->begin(restored); });
  agree();
  if (!restored.file.empty()) state_ = std::move(restored.state);
}

/// Before a checkpoint could keep what is wrong.
void Training::compare_ranks() {
  const int64_t every = spec_.train.rank_check_steps;
  if (communicator_.size() == 1 || every == 0 || state_.steps % every != 0) return;
  std::vector<uint64_t> hashes;
  alone([&] { hashes = rank_check_->hashes(); });
  agree();
  rank_check_->compare(hashes, communicator_);
}

void Training::keep_checkpoint(bool wanted) {
  if (!failure_.empty()) return;
  alone([&] { checkpoints_->keep(state_, wanted); });
}

void Training::stop() {
  if (failure_.empty()) alone([&] { checkpoints_->keep_last(state_); });
  agree();
  throw RunStopped("stopped in epoch " + std::to_string(state_.epoch + 1) + " after step " +
                   std::to_string(state_.epoch_steps));
}

EpochRow Training::train_epoch() {
  const auto start = Clock::now();
  const int64_t epoch = state_.epoch;
  const double seconds_before = state_.epoch_seconds;
  const TrainSpec& train = spec_.train;
  const int64_t steps = steps_per_epoch(data_.train->size(), train.batch_size);
  // Made inside the first step, where a failure of one rank is known to all.
  std::optional<Loader> loader;
  int64_t next_place = 0;  // of this rank's next sample in the epoch's order
  const auto next_batch = [&] {
    if (!failure_.empty()) throw std::runtime_error(failure_);
    if (!loader) {
      loader.emplace(*data_.train,
                     training_batches(data_.train->size(), train.batch_size, train.accumulate_steps,
                                      spec_.seed, epoch, communicator_.rank(), communicator_.size(),
                                      state_.epoch_steps, spec_.data.photos.repeats),
                     AugmentKey{spec_.seed, epoch}, spec_.data.workers);
    }
    const int64_t place = next_place;
    Batch batch = loader->next().value();
    next_place += batch.input.size(0);
    return task_->combine(std::move(batch), {spec_.seed, epoch, place});
  };
  EpochRow row;
  row.run_id = context_.run_id;
  row.epoch = epoch + 1;
  for (int64_t s = state_.epoch_steps; s < steps; ++s) {
    const int64_t step = epoch * steps + s;
    next_place =
        s * train.batch_size + rank_slice(train.batch_size, communicator_.rank(), communicator_.size()).begin;
    state_.lr = learning_rate(train.optimizer, train.schedule, step, steps, train.epochs);
    const Signal signal = context_.signal();
    std::optional<StepResult> result;
    alone([&] {
      const StepRates rates =
          control_->begin_step(step, state_.lr, state_.penalty, average_ ? &*average_ : nullptr);
      result = step_->run(step, rates, next_batch, signal == Signal::stop);
      state_.lambda_sum += rates.lambda;
      if (result && communicator_.rank() == 0)
        context_.on_progress({epoch + 1, train.epochs, s + 1, steps, result->loss});
    });
    update_average(result);
    if (result) take(*result);
    ++state_.steps;
    state_.epoch_steps = s + 1;
    state_.epoch_seconds = seconds_before + seconds_since(start);
    compare_ranks();
    if (result && result->stop) stop();
    keep_checkpoint(/*wanted=*/signal == Signal::checkpoint || s + 1 == steps);
  }
  if (const auto last = step_->settle()) {
    take(*last);
    if (last->stop) stop();
  }
  row.lr = state_.lr;
  if (spec_.method.method == Method::diffq) row.lambda = state_.lambda_sum / static_cast<double>(steps);
  row.train_loss =
      state_.counted > 0 ? state_.loss_sum / static_cast<double>(state_.counted) : kNotApplicable;
  row.seconds = state_.epoch_seconds;
  return row;
}

/// What came of a step; on a GPU a step later.
void Training::take(const StepResult& result) {
  state_.add(result);
  if (!result.skipped.empty() && state_.skipped_in_a_row >= spec_.train.max_skipped_steps) {
    throw RunFailure("step " + std::to_string(result.step + 1) + " (epoch " +
                     std::to_string(state_.epoch + 1) + "): " + result.skipped + ", " +
                     std::to_string(state_.skipped_in_a_row) + " steps in a row");
  }
}

/// After each step that changed the weights, which on a GPU the host does not know yet.
void Training::update_average(const std::optional<StepResult>& result) {
  alone([&] {
    if (!average_) return;
    if (const at::Tensor updated = step_->updated(); updated.defined()) {
      average_->update(updated);
    } else if (result && result->skipped.empty()) {
      average_->update();
    }
  });
}

/// To evaluate them, and back to train on.
void Training::swap_averages() {
  alone([&] {
    if (average_) average_->swap();
  });
}

/// To the weights that the packed model holds.
void Training::round_weights() {
  alone([&] { quantizer_->materialize_rounded(); });
  agree();
}

MetricSums Training::measure(const Dataset& data) {
  round_weights();
  if (spec_.eval.recalibrate_batchnorm > 0) recalibrate_batchnorm(spec_, *task_, *data_.train, communicator_);
  return evaluate(*task_, data, spec_.eval, spec_.data.workers, communicator_);
}

void Training::measure_test() {
  round_weights();
  TestResult test = evaluate_test(*task_, *data_.test, spec_.eval, spec_.data.workers, communicator_);
  record_.run.metric = test.metric;
  record_.tracks = std::move(test.tracks);
  for (TrackRow& row : record_.tracks) row.run_id = context_.run_id;
}

RunRecord Training::run() {
  prepare();
  while (state_.epoch < spec_.train.epochs) {
    EpochRow row = train_epoch();
    swap_averages();
    alone([&] {
      if (state_.epoch + 1 == spec_.train.epochs) control_->finish();
    });
    const MetricSums valid = measure(*data_.valid);
    alone([&] {
      row.eval_loss = valid.loss / valid.count;
      row.metric = task_->metric(valid);
      row.size_mb = quantizer_->size_mb();
      row.expected_size_mb = quantizer_->expected_size_mb();
      row.mean_bits = mean_bits(quantizer_->bits());
      if (communicator_.rank() == 0) context_.on_epoch(row);
    });
    state_.next_epoch(row);
    // What is tested and packed in the end is the averages too.
    if (state_.epoch < spec_.train.epochs) swap_averages();
  }
  const double train_seconds = state_.train_seconds;
  record_.epochs = state_.epochs;
  record_.run.steps = state_.steps;
  record_.run.skipped_steps = state_.skipped_steps;
  record_.run.train_seconds = train_seconds;
  record_.run.samples_per_second =
      train_seconds > 0 ? static_cast<double>(record_.run.steps * spec_.train.batch_size) / train_seconds
                        : kNotApplicable;
  finish_record();
  return record_;
}

void Training::finish_record() {
  RunRow& run = record_.run;
  run.run_id = context_.run_id;
  run.ranks = communicator_.size();
  run.status = "done";
  run.metric_valid =
      record_.epochs.empty() ? task_->metric(measure(*data_.valid)) : record_.epochs.back().metric;
  measure_test();
  const double peak = peak_memory_mb(context_.device);  // of training: packing comes after
  std::array<double, 3> measured{};                     // by rank 0, for all
  alone([&] {
    describe_run(spec_, *task_, store_, *quantizer_, record_);
    if (communicator_.rank() != 0) return;
    measured[0] = peak;
    if (context_.model_file.empty()) return;
    const ModelFileSizes files = write_model_file(context_.model_file, store_, *quantizer_, context_.config);
    measured[1] = files.packed_mb;
    measured[2] = files.compressed_mb;
  });
  agree();
  communicator_.sum(measured);
  run.peak_memory_mb = measured[0];
  if (context_.model_file.empty()) return;
  run.packed_file_mb = measured[1];
  run.compressed_file_mb = measured[2];
}

}  // namespace

RunRecord train_run(const RunSpec& spec, const DataSplits& data, Communicator& communicator,
                    const RunContext& context) {
  std::string failure;
  std::optional<OwnStream> stream;
  std::optional<Training> training;
  try {
    check_recordings();
    reset_peak_memory(context.device);
    if (spec.train.cuda_graph) stream.emplace(context.device);
    training.emplace(spec, data, communicator, context);
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  communicator.agree(failure);
  return training->run();
}

}  // namespace diffq
