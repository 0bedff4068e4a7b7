#include "trainer/recalibrate.h"

#include <torch/torch.h>

#include "datasets/loader.h"
#include "datasets/order.h"
#include "trainer/device.h"

namespace diffq {
namespace {

/// Batch normalisation of any number of dimensions.
struct Statistics {
  torch::nn::BatchNormOptions* options;
  at::Tensor mean, variance;
  std::optional<double> momentum;
};

template <class Normalisation>
void add(torch::nn::Module& module, std::vector<Statistics>& all) {
  auto* found = module.as<Normalisation>();
  if (found && found->options.track_running_stats())
    all.push_back({&found->options, found->running_mean, found->running_var, found->options.momentum()});
}

std::vector<Statistics> statistics_of(torch::nn::Module& module) {
  std::vector<Statistics> all;
  module.apply([&](torch::nn::Module& each) {
    add<torch::nn::BatchNorm1d>(each, all);
    add<torch::nn::BatchNorm2d>(each, all);
  });
  return all;
}

}  // namespace

void recalibrate_batchnorm(const RunSpec& spec, Task& task, const Dataset& train,
                           Communicator& communicator) {
  torch::NoGradGuard no_grad;
  std::vector<Statistics> all = statistics_of(task.module());
  if (all.empty()) return;
  std::string failure;
  try {
    // Only they are in training mode: nothing is dropped meanwhile.
    task.module().eval();
    task.module().apply([](torch::nn::Module& each) {
      if (each.as<torch::nn::BatchNorm1d>() || each.as<torch::nn::BatchNorm2d>()) each.train();
    });
    auto batches = training_batches(train.size(), spec.train.batch_size, /*accumulate_steps=*/1, spec.seed,
                                    /*epoch=*/0, /*rank=*/0, /*ranks=*/1);
    batches.resize(std::min(batches.size(), static_cast<size_t>(spec.eval.recalibrate_batchnorm)));
    const at::Device device = device_of(task.module());
    Loader loader(train, batches, std::nullopt, spec.data.workers);
    double count = 0;
    while (const auto batch = loader.next()) {
      ++count;  // a running mean of all batches so far
      for (Statistics& each : all) each.options->momentum(1 / count);
      task.evaluate(on_device(*batch, device));
    }
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  for (Statistics& each : all) each.options->momentum(each.momentum);
  communicator.agree(failure);
  for (Statistics& each : all) {
    communicator.broadcast(each.mean);
    communicator.broadcast(each.variance);
  }
}

}  // namespace diffq
