#include "trainer/models/demucs.h"

#include <torch/torch.h>

#include <cmath>

namespace diffq {
namespace {

using torch::nn::Conv1d, torch::nn::ConvTranspose1d, torch::nn::Functional, torch::nn::Identity;

constexpr int64_t kKernel = 8, kStride = 4, kContext = 3, kLstmLayers = 2;
constexpr double kRescale = 0.1;  // initial weights are brought towards this deviation

Functional relu() {
  return Functional([](const at::Tensor& x) { return at::relu(x); });
}
Functional gate() {
  return Functional([](const at::Tensor& x) { return at::glu(x, 1); });
}

// The published names count a place for a norm behind each convolution, which version 2 leaves empty.
torch::nn::Sequential down_level(int64_t in, int64_t out) {
  return torch::nn::Sequential(Conv1d(torch::nn::Conv1dOptions(in, out, kKernel).stride(kStride)), Identity(),
                               relu(), Conv1d(torch::nn::Conv1dOptions(out, 2 * out, 1)), Identity(), gate());
}

torch::nn::Sequential up_level(int64_t in, int64_t out, bool last) {
  torch::nn::Sequential level(
      Conv1d(torch::nn::Conv1dOptions(in, 2 * in, kContext).padding(kContext / 2)), Identity(), gate(),
      ConvTranspose1d(torch::nn::ConvTranspose1dOptions(in, out, kKernel).stride(kStride)));
  if (!last) level->push_back(relu());
  return level;
}

at::Tensor centre(const at::Tensor& signal, int64_t length) {
  return signal.narrow(-1, (signal.size(-1) - length) / 2, length);
}

template <class Convolution>
void rescale(Convolution& convolution) {
  const at::Tensor factor = (kRescale / convolution.weight.std()).sqrt();
  convolution.weight.mul_(factor);
  convolution.bias.mul_(factor);
}

}  // namespace

Demucs::Demucs(const DemucsSpec& spec, int64_t sources, int64_t audio_channels) : sources_(sources) {
  encoder_ = register_module("encoder", torch::nn::ModuleList());
  decoder_ = register_module("decoder", torch::nn::ModuleList());
  int64_t below = audio_channels, channels = spec.channels;
  std::vector<torch::nn::Sequential> up;
  for (int64_t level = 0; level < spec.depth; ++level) {
    encoder_->push_back(down_level(below, channels));
    up.push_back(up_level(channels, level == 0 ? sources * audio_channels : below, level == 0));
    below = channels;
    channels *= 2;
  }
  for (auto level = up.rbegin(); level != up.rend(); ++level) decoder_->push_back(*level);
  const auto bottom = register_module("lstm", std::make_shared<torch::nn::Module>());
  lstm_ = bottom->register_module(
      "lstm",
      torch::nn::LSTM(torch::nn::LSTMOptions(below, below).num_layers(kLstmLayers).bidirectional(true)));
  linear_ = bottom->register_module("linear", Linear(2 * below, below));
  torch::NoGradGuard no_grad;
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* down = module->as<torch::nn::Conv1dImpl>()) rescale(*down);
    if (auto* up = module->as<torch::nn::ConvTranspose1dImpl>()) rescale(*up);
  }
}

int64_t Demucs::fitting_length(int64_t length) const {
  int64_t inner = 2 * length;  // at twice the rate
  for (size_t level = 0; level < encoder_->size(); ++level)
    inner = std::max<int64_t>(1, (inner - kKernel + kStride - 1) / kStride + 1);
  for (size_t level = 0; level < encoder_->size(); ++level) inner = (inner - 1) * kStride + kKernel;
  return (inner + 1) / 2;
}

at::Tensor Demucs::forward(const at::Tensor& mixture) {
  const int64_t length = mixture.size(2), missing = fitting_length(length) - length;
  const at::Tensor stems = separate(at::constant_pad_nd(mixture, {missing / 2, missing - missing / 2}));
  return centre(stems, length).unflatten(1, {sources_, mixture.size(1)});
}

at::Tensor Demucs::separate(const at::Tensor& mixture) {
  at::Tensor x = up_(mixture);
  std::vector<at::Tensor> levels;
  for (const auto& level : *encoder_) {
    x = level->as<torch::nn::Sequential>()->forward(x);
    levels.push_back(x);
  }
  x = linear_(std::get<0>(lstm_(x.permute({2, 0, 1})))).permute({1, 2, 0});
  for (const auto& level : *decoder_) {
    x = x + centre(levels.back(), x.size(2));
    levels.pop_back();
    x = level->as<torch::nn::Sequential>()->forward(x);
  }
  return down_(x);
}

}  // namespace diffq
