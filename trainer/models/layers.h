#pragma once
// What several of the models are made of.

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <optional>

namespace diffq {

/// torch's own in all but its product, which takes the bias along where torch's adds it in a pass of its own.
struct LinearImpl : torch::nn::LinearImpl {
  using torch::nn::LinearImpl::LinearImpl;
  at::Tensor forward(const at::Tensor& input);
};
TORCH_MODULE(Linear);

struct ConvolutionForm {
  int64_t stride = 1;
  int64_t groups = 1;
  bool bias = false;
};

/// A square one with odd size, padded so that stride 1 keeps height and width.
torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t size, ConvolutionForm form = {});

/// Softmax(scale q kᵀ) v with a row of queries, keys and values a token: [samples, tokens, 3 width] ->
/// [samples, tokens, width]. scale: 1 / √(width of a head) when absent.
at::Tensor self_attention(const at::Tensor& qkv, int64_t heads, std::optional<double> scale = {});

/// The sum of a residual block. With drop_path > 0 whole samples lose their branch at that rate, and the
/// others' branches grow by 1 / (1 - drop_path) (stochastic depth, arXiv:1603.09382).
at::Tensor add_branch(const at::Tensor& input, const at::Tensor& branch, double drop_path);

}  // namespace diffq
