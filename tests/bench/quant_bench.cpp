// What quantising costs in a training step, as multiples of a plain one-thread copy of the weights:
// ResNet-18's tensors, DiffQ with groups of 8 and Gaussian noise unless told otherwise. All variants
// alternate in one run and the medians of their ratios to the copy before them are printed, so that a busy
// machine shifts all alike.
//   quant_bench [threads] [rounds] [group_size] [gaussian|uniform]

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "quant/diffq.h"
#include "quant/lsq.h"
#include "quant/uniform.h"

namespace diffq {
namespace {

/// Weights of the CIFAR form of ResNet-18 that are quantised at the default minimal size.
std::vector<int64_t> resnet18_sizes() {
  std::vector<int64_t> sizes{64 * 3 * 9, 10 * 512};
  for (const int64_t width : {64, 128, 256, 512}) {
    const int64_t below = width == 64 ? 64 : width / 2;
    for (const int64_t inputs : {below, width, width, width}) sizes.push_back(width * inputs * 9);
    if (width > 64) sizes.push_back(width * below);
  }
  return sizes;
}

struct Model {
  std::unique_ptr<BaseQuantizer> quantizer;
  std::vector<QuantizedTensor> tensors;
  std::vector<size_t> all;

  explicit Model(std::unique_ptr<BaseQuantizer> made) : quantizer(std::move(made)) {
    for (const int64_t n : resnet18_sizes()) {
      QuantizedTensor tensor;
      tensor.name = "t";
      tensor.master = at::randn({n}) * 0.05;
      tensor.compute = at::zeros({n});
      tensor.gradient = at::randn({n});
      tensor.own = at::zeros({quantizer->own_count(n)});
      tensor.own_gradient = at::zeros_like(tensor.own);
      all.push_back(tensors.size());
      tensors.push_back(tensor);
    }
    quantizer->bind(tensors, {});
    quantizer->initialize_own();
  }
};

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Variant {
  std::string name;
  std::function<void()> work;
  std::vector<double> ratios = {};
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

const char* name_of(CodePath path) {
  return path == CodePath::plain ? "plain" : path == CodePath::avx2 ? "avx2" : "avx512";
}

void add_variants(const std::string& name, Model& model, std::vector<Variant>& variants) {
  auto step = std::make_shared<uint32_t>(0);
  const auto materialize = [&model, step] { model.quantizer->materialize({7, ++*step}); };
  const auto pull_back = [&model] { model.quantizer->pull_back(model.all); };
  variants.push_back({name + " materialize (with range)", materialize});
  variants.push_back({name + " pull_back", pull_back});
  variants.push_back({name + " both", [=] { materialize(), pull_back(); }});
}

int run(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 20;
  MethodSpec method;
  method.method = Method::diffq;
  method.group_size = argc > 3 ? std::atoll(argv[3]) : 8;
  method.noise = argc > 4 && std::string(argv[4]) == "uniform" ? NoiseKind::uniform : NoiseKind::gaussian;
  MethodSpec fixed;
  fixed.bits = 4;

  std::vector<std::pair<std::string, Model>> models;
  for (const CodePath path : {CodePath::plain, CodePath::avx2, CodePath::avx512}) {
    if (!has_code_path(path)) continue;
    models.emplace_back(std::string("diffq ") + name_of(path),
                        Model(std::make_unique<DiffQ>(method, QuantSpec{}, path)));
  }
  fixed.method = Method::qat;
  models.emplace_back("qat", Model(std::make_unique<Uniform>(fixed, QuantSpec{})));
  fixed.method = Method::lsq;
  models.emplace_back("lsq", Model(std::make_unique<Lsq>(fixed, QuantSpec{})));
  std::vector<Variant> variants;
  for (auto& [name, model] : models) add_variants(name, model, variants);

  int64_t weights = 0;
  for (const int64_t n : resnet18_sizes()) weights += n;
  std::vector<float> from(static_cast<size_t>(weights), 1.0f), to(from.size());
  const auto copy = [&] {
    std::memcpy(to.data(), from.data(), sizeof(float) * from.size());
    asm volatile("" ::"r"(to.data()) : "memory");
  };
  std::vector<double> copies;
  for (int round = -2; round < rounds; ++round) {  // two rounds to warm up
    for (Variant& variant : variants) {
      const double one_copy = (seconds(copy) + seconds(copy)) / 2, time = seconds(variant.work);
      if (round < 0) continue;
      copies.push_back(one_copy);
      variant.ratios.push_back(time / one_copy);
    }
  }
  std::printf("%lld weights, groups of %lld, %s, %d threads; a copy takes %.2f ms\n",
              static_cast<long long>(weights), static_cast<long long>(method.group_size),
              method.noise == NoiseKind::uniform ? "uniform" : "gaussian", at::get_num_threads(),
              1e3 * median(copies));
  for (const Variant& variant : variants)
    std::printf("%-36s %6.2f copies\n", variant.name.c_str(), median(variant.ratios));
  return 0;
}

}  // namespace
}  // namespace diffq

int main(int argc, char** argv) { return diffq::run(argc, argv); }
