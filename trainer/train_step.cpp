#include "trainer/train_step.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "trainer/device.h"

namespace diffq {
namespace {

// Autocast to bfloat16 as long as this lives, for bf16. It keeps low-precision copies of weights, which are
// good for one step only: the end drops them.
class Autocast {
 public:
  Autocast(Precision precision, at::Device device) : device_(device.type()) {
    at::autocast::set_autocast_enabled(device_, precision == Precision::bf16);
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  }
  ~Autocast() {
    at::autocast::set_autocast_enabled(device_, false);
    at::autocast::clear_cache();
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType device_;
};

constexpr const char* kLossNotFinite = "the loss is not finite";
constexpr const char* kNormNotFinite = "the norm of the gradient is not finite";
constexpr const char* kOwnNotFinite = "the gradient of the bits or scales is not finite";

std::vector<OptimizerRange> weight_ranges(const ParameterStore& store) {
  std::vector<OptimizerRange> ranges;
  for (const auto& entry : store.entries())
    ranges.push_back({store.master_of(entry), store.gradient_of(entry)});
  return ranges;
}

std::vector<OptimizerRange> own_ranges(const ParameterStore& store) {
  std::vector<OptimizerRange> ranges;
  for (const auto& entry : store.entries()) {
    if (entry.own_count > 0) ranges.push_back({store.own_of(entry), store.own_gradient_of(entry)});
  }
  return ranges;
}

// Bits: Adam at a rate of their own. LSQ scales: as the weights, but never decayed.
OptimizerSpec own_optimizer_spec(const RunSpec& spec) {
  OptimizerSpec own = spec.train.optimizer;
  own.weight_decay = 0;
  if (spec.method.method == Method::diffq) {
    own = OptimizerSpec{};
    own.name = OptimizerName::adam;
    own.lr = spec.method.bits_lr;
  }
  return own;
}

// In double, over pieces of fixed length added in order: the same for any number of threads.
double sum_of_squares(const at::Tensor& flat) {
  constexpr int64_t kPiece = 32768, kLanes = 16;
  const float* values = flat.const_data_ptr<float>();
  const int64_t count = flat.numel(), pieces = (count + kPiece - 1) / kPiece;
  std::vector<double> sums(static_cast<size_t>(pieces));
  at::parallel_for(0, pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t end = std::min(count, (piece + 1) * kPiece);
      double lanes[kLanes] = {};
      int64_t i = piece * kPiece;
      for (; i + kLanes <= end; i += kLanes) {
        for (int64_t k = 0; k < kLanes; ++k) lanes[k] += double{values[i + k]} * double{values[i + k]};
      }
      for (; i < end; ++i) lanes[0] += double{values[i]} * double{values[i]};
      double sum = 0;
      for (const double lane : lanes) sum += lane;
      sums[static_cast<size_t>(piece)] = sum;
    }
  });
  double sum = 0;
  for (const double piece : sums) sum += piece;
  return sum;
}

// Anything that is not finite makes NaN of 0 times it.
bool all_finite(const at::Tensor& flat) {
  constexpr int64_t kPiece = 32768, kLanes = 16;
  const float* values = flat.const_data_ptr<float>();
  const int64_t count = flat.numel(), pieces = (count + kPiece - 1) / kPiece;
  std::atomic<bool> finite = true;
  at::parallel_for(0, pieces, 1, [&](int64_t first, int64_t last) {
    const int64_t end = std::min(count, last * kPiece);
    float lanes[kLanes] = {};
    int64_t i = first * kPiece;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t k = 0; k < kLanes; ++k) lanes[k] += values[i + k] * 0.0f;
    }
    for (; i < end; ++i) lanes[0] += values[i] * 0.0f;
    for (const float lane : lanes) {
      if (lane != 0) finite = false;
    }
  });
  return finite;
}

}  // namespace

TrainStep::TrainStep(const RunSpec& spec, uint64_t run_key, Task& task, ParameterStore& store,
                     Quantizer& quantizer, GradientBuckets& buckets, Communicator& communicator,
                     const UpdateKernels* kernels, MakeStepGraph make_graph)
    : spec_(spec),
      group_seed_(mix_seed(spec.seed, run_key)),
      rank_seed_(mix_seed(group_seed_, static_cast<uint64_t>(communicator.rank()))),
      noise_seed_(spec.method.rank_noise == RankNoise::shared ? mix_seed(spec.seed, 0) : rank_seed_),
      task_(task),
      store_(store),
      quantizer_(quantizer),
      buckets_(buckets),
      communicator_(communicator),
      weights_optimizer_(spec.train.optimizer, weight_ranges(store)),
      own_optimizer_(own_optimizer_spec(spec), own_ranges(store)) {
  if (kernels != nullptr) {
    device_.emplace(store, weights_optimizer_, own_optimizer_, buckets.old_buffers(), communicator.divisor(),
                    spec.train.max_grad_norm, *kernels);
    if (spec.train.cuda_graph && make_graph) recorded_.emplace(make_graph, store.master().device());
  }
}

std::optional<StepResult> TrainStep::run(int64_t step, StepRates rates,
                                         const std::function<Batch()>& next_batch, bool stop) {
  torch::NoGradGuard no_grad;
  at::Tensor loss = at::zeros({}, at::kFloat);
  std::string failure = failure_;
  step_ = step;
  rates_ = rates;
  buckets_.begin(/*held=*/recorded_.has_value());
  buckets_.set_stop(stop);
  if (device_) device_->begin(rates.lr, rates.frozen ? 0 : own_lr(rates.lr));
  try {
    if (failure.empty()) loss = recorded_ ? recorded_gradients(next_batch) : gradients(next_batch);
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  failure = buckets_.finish(loss, failure);
  if (!device_) {
    if (buckets_.failed_ranks() > 0) communicator_.agree(failure);
    return update();
  }
  // The others learn of a failure from the report, a step later; alone there is nobody to wait for.
  failure_ = failure;
  if (communicator_.size() == 1 && !failure_.empty()) communicator_.agree(failure_);
  update_on_device();
  if (device_->unread() < 2) return std::nullopt;
  return read_device();
}

at::Tensor TrainStep::gradients(const std::function<Batch()>& next_batch) {
  quantizer_.materialize(noise_key());
  begin_random();
  return forward_backward(next_batch);
}

/// The same; what changes from step to step is on the device before the recorded part begins.
at::Tensor TrainStep::recorded_gradients(const std::function<Batch()>& next_batch) {
  quantizer_.set_step(noise_key(), rates_.lambda);
  begin_random();
  std::vector<Batch> batches;
  for (int64_t micro = 0; micro < spec_.train.accumulate_steps; ++micro) batches.push_back(next_batch());
  recorded_->begin(batches, rates_.frozen);
  recorded_->run(RecordedStep::to_gradients, [this] {
    quantizer_.materialize(noise_key());
    auto batch = recorded_->batches().begin();
    recorded_loss_ = forward_backward([&] { return *batch++; });
    buckets_.complete(recorded_loss_);
  });
  return recorded_loss_;
}

std::optional<StepResult> TrainStep::settle() {
  if (!device_ || device_->unread() == 0) return std::nullopt;
  return read_device();
}

StepResult TrainStep::update() {
  StepResult result;
  result.step = step_;
  result.loss = buckets_.mean_loss();
  result.stop = buckets_.stop_ranks() > 0;
  result.gradient_norm = gradient_norm();
  if (buckets_.nonfinite_ranks() > 0) {
    result.skipped = kLossNotFinite;
  } else if (!std::isfinite(result.gradient_norm)) {
    result.skipped = kNormNotFinite;
  } else if (!own_gradients_finite()) {
    result.skipped = kOwnNotFinite;
  }
  if (!result.skipped.empty()) {
    buckets_.restore_buffers();
    return result;
  }

  average_own_gradients();
  if (!rates_.frozen) quantizer_.add_size_gradient(rates_.lambda);
  const double limit = spec_.train.max_grad_norm;
  const double clip = limit > 0 ? std::min(1.0, limit / (result.gradient_norm + 1e-6)) : 1.0;
  weights_optimizer_.step(rates_.lr, 1.0 / communicator_.divisor() * clip);
  if (!rates_.frozen) own_optimizer_.step(own_lr(rates_.lr), 1.0);
  quantizer_.constrain_own();
  return result;
}

/// The same, but that the device decides.
void TrainStep::update_on_device() {
  if (recorded_ && failure_.empty()) {
    recorded_->run(RecordedStep::update, [this] { launch_update(); });
  } else {
    launch_update();
  }
  device_->send();
}

void TrainStep::launch_update() {
  device_->judge();
  average_own_gradients();
  if (!rates_.frozen) quantizer_.add_size_gradient(rates_.lambda);
  device_->update();
  quantizer_.constrain_own();
}

StepResult TrainStep::read_device() {
  const UpdateReport report = device_->read();
  communicator_.check();
  if (ranks(report.failed) > 0) communicator_.agree(failure_);
  StepResult result = result_of(report);
  result.step = step_ - device_->unread();
  return result;
}

std::optional<StepResult> TrainStep::peek() {
  if (!device_ || device_->unread() == 0) return std::nullopt;
  const UpdateReport report = device_->peek();
  if (ranks(report.failed) > 0) return std::nullopt;
  return result_of(report);
}

/// Whose flag is set, from the sum or mean of all flags.
int64_t TrainStep::ranks(float flag) const {
  return std::llround(double{flag} * communicator_.size() / communicator_.divisor());
}

StepResult TrainStep::result_of(const UpdateReport& report) const {
  StepResult result;
  result.loss = double{report.loss} / communicator_.divisor();
  result.stop = ranks(report.stop) > 0;
  result.gradient_norm = report.gradient_norm;
  if (report.skip == Skip::loss) result.skipped = kLossNotFinite;
  if (report.skip == Skip::norm) result.skipped = kNormNotFinite;
  if (report.skip == Skip::own_gradient) result.skipped = kOwnNotFinite;
  return result;
}

void TrainStep::average_own_gradients() {
  if (communicator_.divisor() == 1) return;
  for (const auto& entry : store_.entries()) {
    if (entry.own_count > 0) store_.own_gradient_of(entry).mul_(1.0 / communicator_.divisor());
  }
}

double TrainStep::own_lr(double lr) const {
  return spec_.method.method == Method::diffq ? spec_.method.bits_lr : scale_lr(lr);
}

// Dropout and its like are a function of (seed, run, step, rank): no generator state needs saving.
void TrainStep::begin_random() {
  const auto step = static_cast<uint64_t>(step_);
  torch::manual_seed(mix_seed(rank_seed_, step));
  task_.begin_step(mix_seed(group_seed_, step));
}

at::Tensor TrainStep::forward_backward(const std::function<Batch()>& next_batch) {
  torch::AutoGradMode with_grad(true);
  const at::Device device = store_.master().device();
  const Autocast autocast(spec_.train.precision, device);
  task_.module().train();
  const int64_t micro_batches = spec_.train.accumulate_steps;
  at::Tensor sum;
  for (int64_t micro = 0; micro < micro_batches; ++micro) {
    at::Tensor loss = task_.loss(on_device(next_batch(), device, spec_.train.precision));
    store_.count_batch();
    if (micro_batches > 1) loss = loss / static_cast<double>(micro_batches);
    if (micro + 1 == micro_batches) buckets_.arm();
    loss.backward();
    sum = sum.defined() ? sum + loss.detach() : loss.detach();
  }
  return sum;
}

// LSQ: the weights' rate, or one of its own that follows the same schedule.
double TrainStep::scale_lr(double lr) const {
  const double base = spec_.train.optimizer.lr;
  if (!spec_.method.scale_lr) return lr;
  return base > 0 ? *spec_.method.scale_lr * lr / base : *spec_.method.scale_lr;
}

// Of the mean over ranks; the same number on every rank.
double TrainStep::gradient_norm() const {
  double squares = 0;
  for (const auto& entry : store_.entries()) squares += sum_of_squares(store_.gradient_of(entry));
  return std::sqrt(squares) / communicator_.divisor();
}

bool TrainStep::own_gradients_finite() const {
  const auto& entries = store_.entries();
  return std::all_of(entries.begin(), entries.end(),
                     [&](const auto& entry) { return all_finite(store_.own_gradient_of(entry)); });
}

}  // namespace diffq
