#include "trainer/models/layers.h"

#include <torch/torch.h>

namespace diffq {

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t size, ConvolutionForm form) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, size)
                               .stride(form.stride)
                               .padding(size / 2)
                               .groups(form.groups)
                               .bias(form.bias));
}

at::Tensor LinearImpl::forward(const at::Tensor& input) { return at::linear(input, weight, bias); }

at::Tensor self_attention(const at::Tensor& qkv, int64_t heads, std::optional<double> scale) {
  const int64_t samples = qkv.size(0), tokens = qkv.size(1), width = qkv.size(2) / 3;
  // Taken apart in one go: the gradients of the three are put together so too, not added to zeros.
  const std::vector<at::Tensor> parts =
      qkv.view({samples, tokens, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  const at::Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {},
                                                            /*dropout_p=*/0, /*is_causal=*/false, scale);
  return mixed.transpose(1, 2).reshape({samples, tokens, width});
}

at::Tensor add_branch(const at::Tensor& input, const at::Tensor& branch, double drop_path) {
  if (drop_path == 0) return input + branch;
  std::vector<int64_t> each_sample(static_cast<size_t>(branch.dim()), 1);
  each_sample[0] = branch.size(0);
  const at::Tensor factors =
      at::empty(each_sample, branch.options()).bernoulli_(1 - drop_path).div_(1 - drop_path);
  return at::addcmul(input, branch, factors);
}

}  // namespace diffq
