#include "trainer/evaluate.h"

#include <torch/torch.h>

#include "datasets/loader.h"

namespace diffq {

MetricSums evaluate(Task& task, const Dataset& data, const EvalSpec& spec, int workers,
                    Communicator& communicator) {
  torch::NoGradGuard no_grad;
  std::string failure;
  double sums[3] = {0, 0, 0};
  try {
    task.module().eval();
    Loader loader(data,
                  evaluation_batches(data.size(), spec.batch_size, communicator.rank(), communicator.size()),
                  std::nullopt, workers);
    while (const auto batch = loader.next()) {
      const MetricSums part = task.evaluate(*batch);
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

}  // namespace diffq
