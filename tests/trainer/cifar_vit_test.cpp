// The vision transformer of the CIFAR examples, of which there is no published vector: against a plain
// restatement that computes one picture's logits in double, token by token and head by head.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "trainer/models/models.h"

namespace diffq {
namespace {

constexpr int64_t kWidth = 512, kHidden = 512, kHeads = 8, kDepth = 6, kPatch = 4;

class PlainVit {
 public:
  explicit PlainVit(const ImageModel& model) {
    for (const auto& item : model.named_parameters())
      weights_[item.key()] = item.value().detach().to(at::kDouble);
  }

  /// picture: [channels, height, width]
  at::Tensor logits(const at::Tensor& picture) const {
    at::Tensor tokens = embedded(picture.to(at::kDouble));
    for (int64_t layer = 0; layer < kDepth; ++layer) {
      const std::string at = "transformer.layers." + std::to_string(layer);
      tokens = tokens + attention(norm(tokens, at + ".0.fn.norm"), at + ".0.fn.fn");
      const std::string net = at + ".1.fn.fn.net.";
      tokens = tokens + linear(gelu(linear(norm(tokens, at + ".1.fn.norm"), net + "0")), net + "3");
    }
    return linear(gelu(linear(norm(tokens.narrow(0, 0, 1), "mlp_head.0"), "mlp_head.1")), "mlp_head.4")[0];
  }

 private:
  const at::Tensor& of(const std::string& name) const { return weights_.at(name); }

  at::Tensor linear(const at::Tensor& x, const std::string& name) const {
    return x.matmul(of(name + ".weight").t()) + of(name + ".bias");
  }

  at::Tensor norm(const at::Tensor& x, const std::string& name) const {
    const at::Tensor centred = x - x.mean(1, true);
    return centred / (centred.square().mean(1, true) + 1e-5).sqrt() * of(name + ".weight") +
           of(name + ".bias");
  }

  static at::Tensor gelu(const at::Tensor& x) { return x * 0.5 * (1 + (x / std::sqrt(2.0)).erf()); }

  at::Tensor embedded(const at::Tensor& picture) const {
    std::vector<at::Tensor> tokens{of("cls_token")[0][0]};
    for (int64_t top = 0; top < picture.size(1); top += kPatch) {
      for (int64_t left = 0; left < picture.size(2); left += kPatch) {
        std::vector<at::Tensor> values;
        for (int64_t pixel = 0; pixel < kPatch * kPatch; ++pixel) {
          for (int64_t channel = 0; channel < picture.size(0); ++channel)
            values.push_back(picture[channel][top + pixel / kPatch][left + pixel % kPatch]);
        }
        tokens.push_back(linear(at::stack(values), "patch_to_embedding"));
      }
    }
    return at::stack(tokens) + of("pos_embedding")[0];
  }

  at::Tensor attention(const at::Tensor& x, const std::string& at) const {
    const at::Tensor mixed = x.matmul(of(at + ".to_qkv.weight").t());
    const int64_t width = kWidth / kHeads;
    std::vector<at::Tensor> heads;
    for (int64_t head = 0; head < kHeads; ++head) {
      const auto part = [&](int64_t which) { return mixed.narrow(1, which * kWidth + head * width, width); };
      const at::Tensor scores = part(0).matmul(part(1).t()) / std::sqrt(double(kWidth));
      heads.push_back(scores.softmax(1).matmul(part(2)));
    }
    return linear(at::cat(heads, 1), at + ".to_out.0");
  }

  std::map<std::string, at::Tensor> weights_;
};

int64_t parameters_for(const ImageShape& shape) {
  const auto linear = [](int64_t in, int64_t out) { return in * out + out; };
  const int64_t tokens = shape.height * shape.width / (kPatch * kPatch) + 1;
  const int64_t norm = 2 * kWidth;
  const int64_t layer = 2 * norm + 3 * kWidth * kWidth + linear(kWidth, kWidth) + linear(kWidth, kHidden) +
                        linear(kHidden, kWidth);
  return tokens * kWidth + kWidth + linear(shape.channels * kPatch * kPatch, kWidth) + kDepth * layer + norm +
         linear(kWidth, kHidden) + linear(kHidden, shape.classes);
}

int64_t parameters_of(const ImageModel& model) {
  int64_t count = 0;
  for (const auto& parameter : model.parameters()) count += parameter.numel();
  return count;
}

TEST(CifarVit, CountOfParameters) {
  EXPECT_EQ(parameters_of(*make_cifar_vit({3, 32, 32, 10}, 0)), 9786378);
  for (const ImageShape& shape : {ImageShape{3, 32, 32, 10}, ImageShape{1, 8, 20, 7}})
    EXPECT_EQ(parameters_of(*make_cifar_vit(shape, 0)), parameters_for(shape));
}

TEST(CifarVit, NamesInOrder) {
  const auto model = make_cifar_vit({3, 32, 32, 10}, 0);
  std::vector<std::string> names{"pos_embedding", "cls_token", "patch_to_embedding.weight",
                                 "patch_to_embedding.bias"};
  for (int layer = 0; layer < 6; ++layer) {
    const std::string at = "transformer.layers." + std::to_string(layer);
    for (const char* name :
         {".0.fn.norm.weight", ".0.fn.norm.bias", ".0.fn.fn.to_qkv.weight", ".0.fn.fn.to_out.0.weight",
          ".0.fn.fn.to_out.0.bias", ".1.fn.norm.weight", ".1.fn.norm.bias", ".1.fn.fn.net.0.weight",
          ".1.fn.fn.net.0.bias", ".1.fn.fn.net.3.weight", ".1.fn.fn.net.3.bias"})
      names.push_back(at + name);
  }
  for (const char* layer : {"mlp_head.0", "mlp_head.1", "mlp_head.4"}) {
    names.push_back(layer + std::string(".weight"));
    names.push_back(layer + std::string(".bias"));
  }
  EXPECT_EQ(model->named_parameters().keys(), names);
  EXPECT_TRUE(model->buffers().empty());
}

TEST(CifarVit, GivesTheOutputOfThePlainOne) {
  torch::manual_seed(1);
  torch::NoGradGuard no_grad;
  for (const ImageShape& shape : {ImageShape{3, 32, 32, 10}, ImageShape{2, 8, 20, 7}}) {
    const auto model = make_cifar_vit(shape, 0.5);
    // Norms start at 1 and 0, where a mistake in their use would not show.
    for (const auto& parameter : model->parameters()) {
      if (parameter.dim() == 1) parameter.add_(at::randn_like(parameter), 0.2);
    }
    model->eval();
    const at::Tensor input = at::randn({2, shape.channels, shape.height, shape.width});
    const at::Tensor output = model->forward(input).to(at::kDouble);
    for (const int64_t sample : {0, 1}) {
      const at::Tensor expected = PlainVit(*model).logits(input[sample]);
      const double off =
          (output[sample] - expected).abs().max().item<double>() / expected.abs().max().item<double>();
      EXPECT_LE(off, 1e-5) << sample;
    }
  }
}

}  // namespace
}  // namespace diffq
