#include "tests/quant/reference_training.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quant/diffq.h"
#include "tests/quant/bound.h"

namespace diffq {
namespace {

constexpr double kTolerance = 1e-4;

struct Sgd {
  double lr, momentum;
  at::Tensor velocity = {};
  void step(at::Tensor& weights, const at::Tensor& gradient) {
    velocity = velocity.defined() ? velocity * momentum + gradient : gradient.clone();
    weights.sub_(velocity * lr);
  }
};

struct Adam {
  double lr;
  int steps = 0;
  at::Tensor mean = {}, square = {};
  void step(at::Tensor& weights, const at::Tensor& gradient) {
    if (!mean.defined()) mean = at::zeros_like(weights), square = at::zeros_like(weights);
    ++steps;
    mean = mean * 0.9 + gradient * 0.1;
    square = square * 0.999 + gradient * gradient * 0.001;
    const at::Tensor size = (square / (1 - std::pow(0.999, steps))).sqrt() + 1e-8;
    weights.sub_(mean / (1 - std::pow(0.9, steps)) / size * lr);
  }
};

}  // namespace

MethodSpec diffq_method(const Hdf5File& file, const std::string& at) {
  MethodSpec method;
  method.method = Method::diffq;
  method.group_size = static_cast<int64_t>(file.number(at, "group_size"));
  method.min_bits = file.number(at, "min_bits");
  method.init_bits = file.number(at, "init_bits");
  method.max_bits = file.number(at, "max_bits");
  method.noise = file.text(at, "noise") == "uniform" ? NoiseKind::uniform : NoiseKind::gaussian;
  if (file.has_attribute(at, "param") && file.text(at, "param") == "noise") {
    method.parametrisation = Parametrisation::noise;
  }
  return method;
}

void check_training(const Hdf5File& file, const std::string& at, CodePath path) {
  const std::vector<std::string> names{"0.weight", "0.bias", "2.weight"};
  std::vector<at::Tensor> weights;
  for (const std::string& name : names) weights.push_back(tensor_of(file.floats(at + "init/" + name)));
  Bound<DiffQ> bound(std::make_unique<DiffQ>(diffq_method(file, at), QuantSpec{}, path), weights,
                     {tensor_of(file.floats(at + "init/2.bias"))});
  const double lr = file.number(at, "lr"), momentum = file.number(at, "momentum");
  const double bits_lr = file.number(at, "bits_lr"), penalty = file.number(at, "penalty");
  std::vector<Sgd> sgd(4, Sgd{lr, momentum});
  std::vector<Adam> adam(3, Adam{bits_lr});
  const std::vector<int64_t> hidden = file.shape(at + "init/0.weight"),
                             outputs = file.shape(at + "init/2.weight");
  at::Tensor& bias = bound.kept[0].master;

  std::vector<float> losses, sizes;
  const auto steps = static_cast<int>(file.number(at, "steps"));
  for (int step = 0; step < steps; ++step) {
    const std::string now = at + "step" + std::to_string(step) + "/";
    std::vector<at::Tensor> noise;
    for (int t = 0; t < 3; ++t) noise.push_back(tensor_of(file.floats(now + "noise" + std::to_string(t))));
    bound.quantizer->use_given_noise(noise);
    bound.quantizer->materialize({});

    const at::Tensor w0 = bound.tensors[0].compute.view(hidden), w2 = bound.tensors[2].compute.view(outputs);
    const at::Tensor x = tensor_of(file.floats(now + "x")).view({-1, hidden[1]});
    const std::vector<int> y = file.ints(now + "y");
    const at::Tensor h = (x.mm(w0.t()) + bound.tensors[1].compute).tanh();
    const at::Tensor log_p = (h.mm(w2.t()) + bias).log_softmax(1);
    const at::Tensor truth = at::zeros_like(log_p);
    for (size_t i = 0; i < y.size(); ++i) truth[static_cast<int64_t>(i)][y[i]] = 1;
    const auto count = static_cast<double>(y.size());
    const double size = bound.quantizer->expected_size_mb();
    losses.push_back(static_cast<float>(-(log_p * truth).sum().item<double>() / count + penalty * size));
    sizes.push_back(static_cast<float>(size));

    const at::Tensor out = (log_p.exp() - truth) / count, inner = out.mm(w2) * (1 - h * h);
    bound.tensors[0].gradient.copy_(inner.t().mm(x).flatten());
    bound.tensors[1].gradient.copy_(inner.sum(0));
    bound.tensors[2].gradient.copy_(out.t().mm(h).flatten());
    bound.pull_back();
    bound.quantizer->add_size_gradient(penalty);
    for (size_t t = 0; t < 3; ++t) {
      sgd[t].step(bound.tensors[t].master, bound.tensors[t].gradient);
      adam[t].step(bound.tensors[t].own, bound.tensors[t].own_gradient);
    }
    sgd[3].step(bias, out.sum(0));
  }

  const auto expect_close = [&](const at::Tensor& ours, const std::string& dataset) {
    EXPECT_LE(relative_difference(ours, tensor_of(file.floats(at + dataset))), kTolerance) << at << dataset;
  };
  expect_close(tensor_of(losses), "loss");
  expect_close(tensor_of(sizes), "model_size_mb");
  for (size_t t = 0; t < 3; ++t) {
    expect_close(bound.tensors[t].master, "final/" + names[t]);
    expect_close(bound.tensors[t].own, "final/" + names[t] + "_diffq");
  }
  expect_close(bias, "final/2.bias");
}

}  // namespace diffq
