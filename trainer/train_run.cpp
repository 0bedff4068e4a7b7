#include "trainer/train_run.h"

#include <torch/torch.h>

#include <array>
#include <chrono>
#include <optional>

#include "datasets/loader.h"
#include "datasets/order.h"
#include "trainer/evaluate.h"
#include "trainer/model_file.h"
#include "trainer/run_measures.h"
#include "trainer/schedule.h"
#include "trainer/train_step.h"

namespace diffq {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
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
        task_(make_task(spec, data.shape)),
        quantizer_(make_quantizer(spec.method, spec.quant)),
        store_(task_->module(), *quantizer_) {}

  RunRecord run();

 private:
  void prepare();
  template <class Work>
  void alone(const Work& work);
  void agree() { communicator_.agree(failure_); }
  EpochRow train_epoch(int64_t epoch);
  MetricSums measure(const Dataset& data);
  void measure_test();
  void finish_record();
  void write_files(double& packed_mb, double& compressed_mb);
  void describe_run();

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
  RunRecord record_;
  int64_t skipped_in_a_row_ = 0;  // up to the last step, over the ends of epochs
  std::string failure_;           ///< of this rank, not yet known to the group
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
    buckets_.emplace(store_, *quantizer_, communicator_);
    step_.emplace(spec_, run_key_, *task_, store_, *quantizer_, *buckets_, communicator_);
  });
  agree();
}

EpochRow Training::train_epoch(int64_t epoch) {
  const auto start = Clock::now();
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
                                      spec_.seed, epoch, communicator_.rank(), communicator_.size()),
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
  double loss_sum = 0;
  int64_t counted = 0;
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t step = epoch * steps + s;
    next_place =
        s * train.batch_size + rank_slice(train.batch_size, communicator_.rank(), communicator_.size()).begin;
    row.lr = learning_rate(train.optimizer, train.schedule, step, steps, train.epochs);
    StepResult result;
    alone([&] {
      result = step_->run(step, row.lr, next_batch);
      if (communicator_.rank() == 0)
        context_.on_progress({epoch + 1, train.epochs, s + 1, steps, result.loss});
    });
    if (result.skipped.empty()) {
      loss_sum += result.loss;
      ++counted;
      skipped_in_a_row_ = 0;
    } else {
      ++record_.run.skipped_steps;
      if (++skipped_in_a_row_ >= train.max_skipped_steps) {
        throw RunFailure("step " + std::to_string(step + 1) + " (epoch " + std::to_string(epoch + 1) + "): " +
                         result.skipped + ", " + std::to_string(skipped_in_a_row_) + " steps in a row");
      }
    }
  }
  record_.run.steps += steps;
  row.train_loss = counted > 0 ? loss_sum / static_cast<double>(counted) : kNotApplicable;
  row.seconds = seconds_since(start);
  return row;
}

MetricSums Training::measure(const Dataset& data) {
  alone([&] { quantizer_->materialize_rounded(); });
  agree();
  return evaluate(*task_, data, spec_.eval, spec_.data.workers, communicator_);
}

void Training::measure_test() {
  alone([&] { quantizer_->materialize_rounded(); });
  agree();
  TestResult test = evaluate_test(*task_, *data_.test, spec_.eval, spec_.data.workers, communicator_);
  record_.run.metric = test.metric;
  record_.tracks = std::move(test.tracks);
  for (TrackRow& row : record_.tracks) row.run_id = context_.run_id;
}

RunRecord Training::run() {
  prepare();
  double train_seconds = 0;
  for (int64_t epoch = 0; epoch < spec_.train.epochs; ++epoch) {
    EpochRow row = train_epoch(epoch);
    train_seconds += row.seconds;
    const MetricSums valid = measure(*data_.valid);
    alone([&] {
      row.eval_loss = valid.loss / valid.count;
      row.metric = task_->metric(valid);
      row.size_mb = quantizer_->size_mb();
      row.expected_size_mb = quantizer_->expected_size_mb();
      row.mean_bits = mean_bits(quantizer_->bits());
      record_.epochs.push_back(row);
      if (communicator_.rank() == 0) context_.on_epoch(row);
    });
  }
  record_.run.train_seconds = train_seconds;
  record_.run.samples_per_second =
      train_seconds > 0 ? static_cast<double>(record_.run.steps * spec_.train.batch_size) / train_seconds
                        : kNotApplicable;
  finish_record();
  return record_;
}

void Training::finish_record() {
  RunRow& run = record_.run;
  run.metric_valid =
      record_.epochs.empty() ? task_->metric(measure(*data_.valid)) : record_.epochs.back().metric;
  measure_test();
  const double peak = peak_memory_mb();  // of training: packing comes after
  std::array<double, 3> measured{};      // by rank 0, for all
  alone([&] {
    describe_run();
    if (communicator_.rank() != 0) return;
    measured[0] = peak;
    if (!context_.model_file.empty()) write_files(measured[1], measured[2]);
  });
  agree();
  communicator_.sum(measured);
  run.peak_memory_mb = measured[0];
  if (context_.model_file.empty()) return;
  run.packed_file_mb = measured[1];
  run.compressed_file_mb = measured[2];
}

/// The packed model; in MB what it takes, and what it would take compressed.
void Training::write_files(double& packed_mb, double& compressed_mb) {
  const PackedModelWriter packed = pack_model(store_, *quantizer_, Coding::bits, context_.config);
  write_model(context_.model_file, packed);
  packed_mb = static_cast<double>(packed.file_bytes()) / (1 << 20);
  const PackedModelWriter compressed = pack_model(store_, *quantizer_, Coding::zstd, context_.config);
  compressed_mb = static_cast<double>(compressed.file_bytes()) / (1 << 20);
}

void Training::describe_run() {
  RunRow& run = record_.run;
  run.run_id = context_.run_id;
  run.benchmark = task_->benchmark();
  run.metric_name = task_->metric_name();
  run.higher_is_better = task_->higher_is_better();
  run.seed = static_cast<int64_t>(spec_.seed);
  run.ranks = communicator_.size();
  run.epochs = spec_.train.epochs;
  run.size_mb = quantizer_->size_mb();
  int64_t parameters = 0;
  for (const auto& entry : store_.entries()) parameters += entry.numel;
  run.size_fp32_mb = static_cast<double>(parameters) * 4 / (1 << 20);
  run.ratio = run.size_fp32_mb / run.size_mb;
  run.mean_bits = mean_bits(quantizer_->bits());
  run.status = "done";
  record_.layers = layer_rows(context_.run_id, quantizer_->bits());
}

}  // namespace

RunRecord train_run(const RunSpec& spec, const DataSplits& data, Communicator& communicator,
                    const RunContext& context) {
  reset_peak_memory();
  std::string failure;
  std::optional<Training> training;
  try {
    training.emplace(spec, data, communicator, context);
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  communicator.agree(failure);
  return training->run();
}

RunFootprint footprint(const RunSpec& spec, const DataShape& shape) {
  const auto task = make_task(spec, shape);
  const auto quantizer = make_quantizer(spec.method, spec.quant);
  const ParameterStore store(task->module(), *quantizer);
  RunFootprint result;
  for (const auto& entry : store.entries()) result.parameters += entry.numel;
  result.size_fp32_mb = static_cast<double>(result.parameters) * 4 / (1 << 20);
  const int64_t own_state =
      spec.method.method == Method::diffq ? 8 : Optimizer::state_bytes(spec.train.optimizer);
  const int64_t bytes = store.bytes() +
                        store.master().numel() * Optimizer::state_bytes(spec.train.optimizer) +
                        store.own().numel() * own_state;
  result.memory_mb = static_cast<double>(bytes) / (1 << 20);
  return result;
}

}  // namespace diffq
