#include "tests/trainer/training_rig.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cstring>

#include "datasets/loader.h"
#include "datasets/order.h"
#include "tests/support/thread_communicator.h"

namespace diffq {

MemoryData::MemoryData(int64_t samples, const ImageShape& shape, uint64_t seed, double noise) {
  const auto normal = [](std::vector<int64_t> sizes, uint64_t own_seed) {
    return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(own_seed), at::kFloat);
  };
  const at::Tensor patterns = normal({shape.classes, shape.channels, shape.height, shape.width}, 7);
  all_.target = at::arange(samples, at::kLong).remainder(shape.classes);
  all_.input = patterns.index_select(0, all_.target) +
               normal({samples, shape.channels, shape.height, shape.width}, seed) * noise;
}

Batch MemoryData::batch(std::span<const int64_t> samples, const std::optional<AugmentKey>&) const {
  const at::Tensor index =
      at::from_blob(const_cast<int64_t*>(samples.data()), {static_cast<int64_t>(samples.size())}, at::kLong);
  return {all_.input.index_select(0, index), all_.target.index_select(0, index)};
}

Batch DamagedData::batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const {
  if (std::find(samples.begin(), samples.end(), damaged_) != samples.end()) {
    throw std::runtime_error("sample " + std::to_string(damaged_) + " can't be read");
  }
  return MemoryData::batch(samples, augment);
}

DataSplits memory_splits() {
  return {kSmallShape, std::make_shared<MemoryData>(320, kSmallShape, 1),
          std::make_shared<MemoryData>(70, kSmallShape, 2), std::make_shared<MemoryData>(90, kSmallShape, 3)};
}

RunSpec small_spec(Method method) {
  RunSpec spec;
  spec.model.batchnorm = false;
  spec.train.batch_size = 32;
  spec.train.optimizer.lr = 0.05;
  spec.quant.min_size_mb = 0.0011;  // 288 entries: not linear2.weight
  spec.method.method = method;
  if (method != Method::fp32 && method != Method::diffq) spec.method.bits = 4;
  if (method == Method::diffq) {
    spec.method.lambda = 1;
    spec.method.bits_lr = 0.05;
  }
  spec.seed = 5;
  return spec;
}

std::shared_ptr<Task> make_small_task(const RunSpec& spec) {
  const std::lock_guard lock(generator_mutex());
  return make_task(spec, kSmallShape);
}

TrainingRig::TrainingRig(const RunSpec& given, const DataSplits& data, Communicator& communicator,
                         RigParts given_parts)
    : spec(given),
      parts(std::move(given_parts)),
      store((parts.task = parts.task ? parts.task : make_small_task(spec))->module(),
            *(parts.quantizer = parts.quantizer
                                    ? parts.quantizer
                                    : std::shared_ptr<Quantizer>(make_quantizer(spec.method, spec.quant))),
            parts.limits, spec.train.precision),
      buckets(store, *parts.quantizer, communicator),
      train_step(spec, /*run_key=*/0x5eed, *parts.task, store, *parts.quantizer, buckets, communicator,
                 parts.kernels, parts.make_graph),
      data_(data),
      communicator_(communicator) {
  parts.quantizer->initialize_own();
  // A step seeds torch's generator, from which other ranks may still draw their initial weights: all wait.
  communicator.agree("");
}

StepResult TrainingRig::step(int64_t number, bool frozen) {
  const int64_t steps = steps_per_epoch(data_.train->size(), spec.train.batch_size);
  const auto batches =
      training_batches(data_.train->size(), spec.train.batch_size, spec.train.accumulate_steps, spec.seed,
                       number / steps, communicator_.rank(), communicator_.size(), number % steps);
  size_t next = 0;
  const auto result = train_step.run(number, {spec.train.optimizer.lr, spec.method.lambda, frozen},
                                     [&] { return data_.train->batch(batches[next++], {}); });
  return result ? *result : train_step.settle().value();
}

std::vector<at::Tensor> TrainingRig::state() {
  std::vector<at::Tensor> tensors{store.master().clone(), store.own().clone()};
  for (const auto& buffer : store.buffers()) tensors.push_back(buffer.tensor.clone());
  for (const auto* optimizer : {&train_step.weights_optimizer(), &train_step.own_optimizer()}) {
    for (const auto& [name, tensor] : optimizer->state()) tensors.push_back(tensor.clone());
  }
  return tensors;
}

nlohmann::json without_measures(const RunRecord& record) {
  nlohmann::json json = to_json(record);
  for (const char* measure : {"train_seconds", "samples_per_second", "peak_memory_mb"}) {
    if (json.at("run").erase(measure) != 1) throw std::logic_error(measure);
  }
  for (auto& row : json.at("epochs")) {
    if (row.erase("seconds") != 1) throw std::logic_error("seconds");
  }
  return json;
}

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const RunFailure& failure) {
    return failure.what();
  }
  return "no failure";
}

bool same_bits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].sizes().equals(b[i].sizes()) || a[i].scalar_type() != b[i].scalar_type()) return false;
    const at::Tensor left = a[i].cpu().contiguous(), right = b[i].cpu().contiguous();
    if (std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) != 0) return false;
  }
  return true;
}

Alter change_gradient(const std::string& name, const std::function<at::Tensor(const at::Tensor&)>& change) {
  return [name, change](const at::Tensor& loss, torch::nn::Module& module) {
    const at::Tensor parameter = module.named_parameters()[name];
    parameter.register_hook([change, once = std::make_shared<bool>(true)](const at::Tensor& gradient) {
      return std::exchange(*once, false) ? change(gradient) : gradient;
    });
    return loss;
  };
}

}  // namespace diffq
