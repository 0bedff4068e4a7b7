// The bits of ResNet-18 under a penalty that leaves the task no say, against what is known of the published
// implementation: sizes after one, two and three epochs of 313 steps.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "quant/quantizer.h"
#include "trainer/optimizers.h"

namespace diffq {
namespace {

// A quantizer bound to all tensors of the model; own parameters and their gradients are one flat range each.
struct BoundModel {
  explicit BoundModel(const MethodSpec& method) : quantizer(make_quantizer(method, {})) {
    const auto& parameters = published().at("named_parameters");
    int64_t own_total = 0;
    for (const auto& parameter : parameters) {
      if (quantizer->selects(parameter[0], numel(parameter)))
        own_total += quantizer->own_count(numel(parameter));
    }
    own = at::zeros({own_total}, at::kFloat);
    own_gradient = at::zeros({own_total}, at::kFloat);
    std::vector<QuantizedTensor> quantized;
    std::vector<KeptTensor> kept;
    int64_t offset = 0;
    for (const auto& parameter : parameters) {
      const at::Tensor master = at::zeros({numel(parameter)}, at::kFloat);
      if (!quantizer->selects(parameter[0], numel(parameter))) {
        kept.push_back({parameter[0], master, master});
        continue;
      }
      const int64_t end = offset + quantizer->own_count(numel(parameter));
      quantized.push_back({parameter[0], master, at::empty_like(master), at::empty_like(master),
                           own.slice(0, offset, end), own_gradient.slice(0, offset, end)});
      offset = end;
    }
    quantizer->bind(std::move(quantized), std::move(kept));
    quantizer->initialize_own();
  }

  static const nlohmann::json& published() {
    static const nlohmann::json models =
        nlohmann::json::parse(std::ifstream(DIFFQ_SOURCE_DIR "/tests/fixtures/models.json"));
    return models.at("resnet18_cifar");
  }
  static int64_t numel(const nlohmann::json& parameter) {
    return c10::multiply_integers(parameter[1].get<std::vector<int64_t>>());
  }

  std::unique_ptr<Quantizer> quantizer;
  at::Tensor own, own_gradient;
};

MethodSpec diffq_of(int64_t group_size) {
  MethodSpec method;
  method.method = Method::diffq;
  method.group_size = group_size;
  return method;
}

// The same fall of a single logit in double: Adam on λ ∂size/∂logit, with 16 weights a group.
class FallingLogit {
 public:
  void step() {
    ++steps_;
    const double sigmoid = 1 / (1 + std::exp(-logit_));
    const double gradient = 5 * 16.0 / 8 / (1 << 20) * (15 - 2) * sigmoid * (1 - sigmoid);
    mean_ = 0.9 * mean_ + 0.1 * gradient;
    square_ = 0.999 * square_ + 0.001 * gradient * gradient;
    logit_ -= 1e-3 * mean_ / (1 - std::pow(0.9, steps_)) /
              (std::sqrt(square_ / (1 - std::pow(0.999, steps_))) + 1e-8);
  }
  double logit() const { return logit_; }

 private:
  double logit_ = std::log(6.0 / 7);  // 8 bits between 2 and 15
  double mean_ = 0, square_ = 0;
  int steps_ = 0;
};

// A run of the published implementation with λ = 5 logged 9.608, 8.278 and 6.882 MB after its first three
// epochs. The numbers below are those of bits that fall freely.
TEST(FreeFall, BitsOfResNet18FallAsPublished) {
  const BoundModel model(diffq_of(16));
  OptimizerSpec adam;
  adam.name = OptimizerName::adam;
  adam.lr = 1e-3;
  Optimizer optimizer(adam, {{model.own, model.own_gradient}});
  FallingLogit single;
  for (const double expected_mb : {9.6077, 8.2771, 6.8632}) {
    for (int step = 0; step < 313; ++step) {
      model.own_gradient.zero_();
      model.quantizer->add_size_gradient(5);
      optimizer.step(adam.lr, 1);
      single.step();
    }
    EXPECT_NEAR(model.quantizer->size_mb(), expected_mb, 1e-3 * expected_mb);
    EXPECT_LE((model.own - single.logit()).abs().max().item<double>(), 1e-4);
  }
}

}  // namespace
}  // namespace diffq
