#pragma once
// What train_run puts together for one rank, open to tests, and small data in memory.

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>

#include "results/records.h"
#include "trainer/train_step.h"

namespace diffq {

/// Samples held in memory: each class is a fixed pattern, plus noise of the set's own.
class MemoryData : public Dataset {
 public:
  MemoryData(int64_t samples, const ImageShape& shape, uint64_t seed, double noise = 1.3);
  int64_t size() const override { return all_.target.size(0); }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;
  const Batch& all() const { return all_; }

 private:
  Batch all_;
};

inline constexpr ImageShape kSmallShape{1, 8, 8, 4};

/// Can't read one sample.
class DamagedData : public MemoryData {
 public:
  DamagedData(int64_t samples, int64_t damaged) : MemoryData(samples, kSmallShape, 1), damaged_(damaged) {}
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;

 private:
  int64_t damaged_;
};

/// 320 training samples, 70 held out, 90 to test on.
DataSplits memory_splits();
/// small_cnn without batch normalisation, batches of 32, three of the four weight matrices quantised.
RunSpec small_spec(Method method);

/// A module of a test's own with a loss.
class LambdaTask : public Task {
 public:
  using Loss = std::function<at::Tensor(const Batch&)>;
  LambdaTask(std::shared_ptr<torch::nn::Module> module, Loss loss)
      : module_(std::move(module)), loss_(std::move(loss)) {}
  torch::nn::Module& module() override { return *module_; }
  at::Tensor loss(const Batch& batch) override { return loss_(batch); }
  MetricSums evaluate(const Batch&) override { return {}; }
  double metric(const MetricSums&) const override { return 0; }
  std::string benchmark() const override { return "image"; }
  std::string metric_name() const override { return "accuracy %"; }
  bool higher_is_better() const override { return true; }

 private:
  std::shared_ptr<torch::nn::Module> module_;
  Loss loss_;
};

/// Another task with its loss passed through a function of the test's.
class AlteredTask : public LambdaTask {
 public:
  using Alter = std::function<at::Tensor(const at::Tensor& loss, torch::nn::Module&)>;
  AlteredTask(std::shared_ptr<Task> task, Alter alter)
      : LambdaTask(std::shared_ptr<torch::nn::Module>(task, &task->module()),
                   [task, alter](const Batch& batch) { return alter(task->loss(batch), task->module()); }) {}
};

using Alter = AlteredTask::Alter;

/// Passes the gradient of this parameter through `change`, in the next backward alone.
Alter change_gradient(const std::string& name, const std::function<at::Tensor(const at::Tensor&)>& change);

struct RigParts {
  std::shared_ptr<Task> task = nullptr;            ///< made from the spec when absent
  std::shared_ptr<Quantizer> quantizer = nullptr;  ///< made from the spec when absent
  BucketLimits limits = {};
  const UpdateKernels* kernels = nullptr;  ///< what ends a step, in place of the CPU's loops
  MakeStepGraph make_graph = nullptr;      ///< what records it, where the spec wants that
};

/// One rank's training, ready for its first step.
class TrainingRig {
 public:
  TrainingRig(const RunSpec& spec, const DataSplits& data, Communicator& communicator, RigParts parts = {});

  /// Step `number` of the run, on this rank's part of the batch.
  StepResult step(int64_t number, bool frozen = false);
  /// Copies of master, own parameters, model buffers and moments, in this order.
  std::vector<at::Tensor> state();
  torch::nn::Module& module() { return parts.task->module(); }

  RunSpec spec;
  RigParts parts;
  ParameterStore store;
  GradientBuckets buckets;
  TrainStep train_step;

 private:
  const DataSplits& data_;
  Communicator& communicator_;
};

std::shared_ptr<Task> make_small_task(const RunSpec& spec);

/// All of a record that is a function of the specification; times and memory are not.
nlohmann::json without_measures(const RunRecord& record);

/// The reason of the RunFailure that `work` throws.
std::string failure_of(const std::function<void()>& work);

/// Whether two lists of tensors hold the same bits.
bool same_bits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b);

}  // namespace diffq
