// What the tiny language model of tests/support computes from the texts in a folder, for language_model.py:
//   language_values FOLDER      reads FOLDER/train.txt, valid.txt, test.txt; writes
//   FOLDER/values.safetensors: its parameters, a batch, the training loss and its gradients, and the
//   perplexity of the test part

#include <torch/torch.h>

#include <cstdio>

#include "quant/safetensors.h"
#include "tests/support/language_models.h"
#include "trainer/evaluate.h"
#include "trainer/task.h"

int main(int argc, char** argv) {
  using namespace diffq;
  if (argc != 2) return std::fprintf(stderr, "language_values FOLDER\n"), 2;
  const RunSpec spec = tiny_language_spec(argv[1]);
  const DataSplits data = open_data(spec.data);
  const auto task = make_task(spec, data.shape);
  // Biases and norms that start as 0 and 1 are moved, so that each matters.
  torch::manual_seed(11);
  {
    torch::NoGradGuard no_grad;
    for (const auto& parameter : task->module().parameters()) parameter.add_(at::randn_like(parameter), 0.1);
  }
  std::vector<std::pair<std::string, at::Tensor>> values;
  const std::vector<int64_t> samples{5, 0, 31};
  const Batch batch = data.train->batch(samples, {});
  task->module().train();
  const at::Tensor loss = task->loss(batch);
  loss.backward();
  const double perplexity = task->metric(evaluate(*task, *data.test, spec.eval, 1, alone));
  values = {{"input", batch.input},
            {"target", batch.target},
            {"loss", loss.detach().to(at::kDouble)},
            {"perplexity", at::scalar_tensor(perplexity, at::kDouble)}};
  for (const auto& item : task->module().named_parameters()) {
    values.emplace_back("parameter/" + item.key(), item.value().detach());
    values.emplace_back("gradient/" + item.key(), item.value().grad());
  }
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, tensor] : values) {
    const std::string type = tensor.scalar_type() == at::kLong     ? "I64"
                             : tensor.scalar_type() == at::kDouble ? "F64"
                                                                   : "F32";
    tensors.push_back({name, type, tensor.sizes().vec(), tensor.nbytes(), [tensor = tensor.contiguous()] {
                         return std::span(static_cast<const uint8_t*>(tensor.const_data_ptr()),
                                          tensor.nbytes());
                       }});
  }
  write_safetensors(std::string(argv[1]) + "/values.safetensors", {}, tensors);
  return 0;
}
