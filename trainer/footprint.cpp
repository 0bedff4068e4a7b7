#include "trainer/footprint.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "trainer/parameter_store.h"
#include "trainer/task.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

constexpr int64_t kSteps = 3;

class FirstSamples : public Dataset {
 public:
  FirstSamples(const Dataset& all, int64_t count) : all_(all), count_(count) {}
  int64_t size() const override { return count_; }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
    return all_.batch(samples, augment);
  }

 private:
  const Dataset& all_;
  int64_t count_;
};

}  // namespace

RunFootprint footprint(const RunSpec& spec, const DataShape& shape) {
  const auto task = make_task(spec, shape);
  const auto quantizer = make_quantizer(spec.method, spec.quant);
  const ParameterStore store(task->module(), *quantizer);
  RunFootprint result;
  for (const auto& entry : store.entries()) {
    result.parameters += entry.numel;
    result.tensors.push_back({entry.name, entry.numel});
  }
  result.size_fp32_mb = static_cast<double>(result.parameters) * 4 / (1 << 20);
  quantizer->initialize_own();
  result.start_size_mb = quantizer->size_mb();
  result.least_size_mb = quantizer->least_size_mb();
  return result;
}

double dry_run(const RunSpec& spec, const DataSplits& data, int ranks, double share, bool with_track) {
  const auto part = [&](int64_t samples) {
    return std::min(samples, std::max<int64_t>(2, std::llround(share * double(samples))));
  };
  // Even, as mixup wants it, where there is more than one.
  const int64_t batch = part(spec.train.batch_size / ranks / spec.train.accumulate_steps);
  RunSpec few = spec;
  few.train.batch_size = batch > 1 ? batch / 2 * 2 : 1;
  few.train.accumulate_steps = 1;
  few.train.epochs = std::min<int64_t>(1, spec.train.epochs);
  few.train.max_skipped_steps = kSteps;
  few.eval.batch_size = part(spec.eval.batch_size);
  // From the second shift on there is a sum; more take time alone.
  if (few.eval.separation) few.eval.separation->shifts = std::min<int64_t>(2, spec.eval.separation->shifts);
  const auto first = [&](const std::shared_ptr<const Dataset>& all, int64_t count) {
    return std::make_shared<FirstSamples>(*all, std::min(count, all->size()));
  };
  const auto evaluated = [&](const std::shared_ptr<const Dataset>& all) {
    return first(all, std::min(few.eval.batch_size, part(all->size() / ranks)));
  };
  const bool tracks = std::holds_alternative<MusicShape>(data.shape);
  const DataSplits part_of{data.shape, first(data.train, kSteps * few.train.batch_size),
                           evaluated(data.valid),
                           tracks ? first(data.test, with_track ? 1 : 0) : evaluated(data.test)};
  SoloCommunicator alone;
  RunContext context;
  context.run_id = "0";
  context.copies_state = true;
  return train_run(few, part_of, alone, context).run.peak_memory_mb;
}

}  // namespace diffq
