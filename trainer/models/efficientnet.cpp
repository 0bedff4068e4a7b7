// EfficientNet-B3 (arXiv:1905.11946), with symmetric padding. Names of parameters are those of the published
// checkpoints. SiLU's backward needs its input: unlike ReLU it can't work in place.
#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;

struct StageForm {
  int64_t blocks, width, size, stride, expansion;
};

constexpr StageForm kStages[] = {{2, 24, 3, 1, 1},  {3, 32, 3, 2, 6},  {3, 48, 5, 2, 6}, {5, 96, 3, 2, 6},
                                 {5, 136, 5, 1, 6}, {6, 232, 5, 2, 6}, {2, 384, 3, 1, 6}};
constexpr int64_t kStemWidth = 40, kHeadWidth = 1536;

/// Inverted bottleneck: wider by a 1 x 1 convolution, each channel by itself, channels weighted by what is in
/// them (squeeze and excite), narrower again.
class MobileBlock : public torch::nn::Module {
 public:
  MobileBlock(int64_t in, int64_t stride, const StageForm& form, double drop_path)
      : adds_input_(stride == 1 && in == form.width), drop_path_(drop_path) {
    const int64_t inner = in * form.expansion, squeezed = in / 4;
    int norms = 0;
    const auto add_norm = [&](int64_t width) {
      return register_module("bn" + std::to_string(++norms), BatchNorm2d(width));
    };
    const bool expands = form.expansion > 1;
    if (expands) {
      expand_ = register_module("conv_pw", convolution(in, inner, 1));
      expand_norm_ = add_norm(inner);
    }
    depthwise_ =
        register_module("conv_dw", convolution(inner, inner, form.size, {.stride = stride, .groups = inner}));
    depthwise_norm_ = add_norm(inner);
    const auto excite = register_module("se", std::make_shared<torch::nn::Module>());
    reduce_ = excite->register_module("conv_reduce", convolution(inner, squeezed, 1, {.bias = true}));
    excite_ = excite->register_module("conv_expand", convolution(squeezed, inner, 1, {.bias = true}));
    project_ = register_module(expands ? "conv_pwl" : "conv_pw", convolution(inner, form.width, 1));
    project_norm_ = add_norm(form.width);
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = expand_ ? at::silu(expand_norm_(expand_(input))) : input;
    x = at::silu(depthwise_norm_(depthwise_(x)));
    const at::Tensor squeezed = reduce_(x.mean({2, 3}, /*keepdim=*/true));
    x = project_norm_(project_(x * excite_(at::silu(squeezed)).sigmoid_()));
    return adds_input_ ? add_branch(input, x, is_training() ? drop_path_ : 0) : x;
  }

 private:
  bool adds_input_;
  double drop_path_;
  Conv2d expand_{nullptr}, depthwise_{nullptr}, reduce_{nullptr}, excite_{nullptr}, project_{nullptr};
  BatchNorm2d expand_norm_{nullptr}, depthwise_norm_{nullptr}, project_norm_{nullptr};
};

class EfficientNet : public ImageModel {
 public:
  EfficientNet(const ImageShape& shape, double dropout, double drop_path) : dropout_(dropout) {
    conv_stem_ = register_module("conv_stem", convolution(shape.channels, kStemWidth, 3, {.stride = 2}));
    bn1_ = register_module("bn1", BatchNorm2d(kStemWidth));
    add_stages(drop_path);
    conv_head_ = register_module("conv_head", convolution(kStages[6].width, kHeadWidth, 1));
    bn2_ = register_module("bn2", BatchNorm2d(kHeadWidth));
    classifier_ = register_module("classifier", Linear(kHeadWidth, shape.classes));
    draw_weights();
  }

  at::Tensor forward(const at::Tensor& input) override {
    at::Tensor x = at::silu(bn1_(conv_stem_(input)));
    for (MobileBlock* block : blocks_) x = block->forward(x);
    x = at::silu(bn2_(conv_head_(x))).mean({2, 3});
    return classifier_(at::dropout(x, dropout_, is_training()));
  }

 private:
  void add_stages(double drop_path) {
    double all = 0, before = 0;
    for (const StageForm& stage : kStages) all += double(stage.blocks);
    int64_t width = kStemWidth;
    const auto stages = register_module("blocks", torch::nn::ModuleList());
    for (const StageForm& stage : kStages) {
      torch::nn::ModuleList list;
      for (int64_t i = 0; i < stage.blocks; ++i) {
        const auto block = std::make_shared<MobileBlock>(width, i == 0 ? stage.stride : 1, stage,
                                                         drop_path * before++ / all);
        list->push_back(block);
        blocks_.push_back(block.get());
        width = stage.width;
      }
      stages->push_back(list);
    }
  }

  // Normal with variance 2 / fan-out (of a group of channels); the classifier uniform in ±1 / √classes.
  void draw_weights() {
    torch::NoGradGuard no_grad;
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* conv = module->as<torch::nn::Conv2dImpl>()) {
        const int64_t fan_out = conv->weight.size(0) * conv->weight[0][0].numel() / conv->options.groups();
        conv->weight.normal_(0, std::sqrt(2.0 / double(fan_out)));
        if (conv->bias.defined()) conv->bias.zero_();
      }
    }
    const double bound = 1 / std::sqrt(double(classifier_->weight.size(0)));
    classifier_->weight.uniform_(-bound, bound);
    classifier_->bias.zero_();
  }

  double dropout_;
  Conv2d conv_stem_{nullptr}, conv_head_{nullptr};
  BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  std::vector<MobileBlock*> blocks_;  ///< of all stages
  Linear classifier_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_efficientnet_b3(const ImageShape& shape, double dropout, double drop_path) {
  return std::make_shared<EfficientNet>(shape, dropout, drop_path);
}

}  // namespace diffq
