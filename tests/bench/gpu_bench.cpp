// What DiffQ's passes cost on a GPU, beside a plain copy in its memory: the tensors of DeiT-B (86.6 M
// weights), groups of 8 and Gaussian noise unless told otherwise. All variants alternate in one run; medians.
// Prints one JSON object; "bandwidth_share" is that of 16 bytes a weight (range 4, materialize 8, pull_back
// 4).
//   gpu_bench [rounds] [group_size] [gaussian|uniform]

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "quant/device_memory.h"
#include "quant/device_quantizer.h"

namespace diffq {
namespace {

std::vector<int64_t> deit_base_sizes() {
  constexpr int64_t kWidth = 768;
  std::vector<int64_t> sizes{kWidth * 16 * 16 * 3, 197 * kWidth, 1000 * kWidth};
  for (int layer = 0; layer < 12; ++layer) {
    for (const int64_t width : {3 * kWidth, kWidth, 4 * kWidth, 4 * kWidth}) sizes.push_back(kWidth * width);
  }
  return sizes;
}

struct Model {
  std::unique_ptr<Quantizer> quantizer;
  std::vector<QuantizedTensor> tensors;
  std::vector<size_t> all;
  int64_t weights = 0;

  explicit Model(const MethodSpec& method) : quantizer(make_quantizer(method, {}, at::kCUDA)) {
    const auto options = at::TensorOptions().dtype(at::kFloat).device(at::Device(at::kCUDA, 0));
    for (const int64_t n : deit_base_sizes()) {
      QuantizedTensor tensor;
      tensor.name = "t";
      tensor.master = at::randn({n}, options) * 0.02;
      tensor.compute = at::empty({n}, options);
      tensor.gradient = at::randn({n}, options);
      tensor.own = at::zeros({quantizer->own_count(n)}, options);
      tensor.own_gradient = at::zeros_like(tensor.own);
      all.push_back(tensors.size());
      tensors.push_back(tensor);
      weights += n;
    }
    quantizer->bind(tensors, {});
    quantizer->initialize_own();
  }
};

/// Of the GPU's own clock, a few repeats at a time.
double microseconds(const std::function<void()>& work) {
  constexpr int kRepeats = 5;
  at::cuda::CUDAEvent start(cudaEventDefault), end(cudaEventDefault);
  start.record();
  for (int k = 0; k < kRepeats; ++k) work();
  end.record();
  end.synchronize();
  return 1e3 * double{start.elapsed_time(end)} / kRepeats;
}

int run(int argc, char** argv) {
  if (!torch::cuda::is_available()) {
    std::fprintf(stderr, "gpu_bench: no GPU\n");
    return 77;
  }
  torch::NoGradGuard no_grad;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 30;
  MethodSpec method;
  method.method = Method::diffq;
  method.group_size = argc > 2 ? std::atoll(argv[2]) : 8;
  method.noise = argc > 3 && std::string(argv[3]) == "uniform" ? NoiseKind::uniform : NoiseKind::gaussian;
  Model model(method);
  // Reads and writes 8 bytes a weight together.
  const at::Tensor from = at::randn({model.weights}, model.tensors[0].master.options()),
                   to = at::empty_like(from);

  uint32_t step = 0;
  const auto materialize = [&] { model.quantizer->materialize({7, ++step}); };
  const auto pull_back = [&] { model.quantizer->pull_back(model.all); };
  std::vector<std::pair<std::string, std::function<void()>>> variants{
      {"copy", [&] { to.copy_(from); }},
      {"materialize", materialize},
      {"pull_back", pull_back},
      {"all", [&] { materialize(), pull_back(); }},
      {"size_gradient", [&] { model.quantizer->add_size_gradient(5); }}};
  std::map<std::string, std::vector<double>> times;
  for (int round = -3; round < rounds; ++round) {  // three to warm up
    for (const auto& [name, work] : variants) {
      const double time = microseconds(work);
      if (round >= 0) times[name].push_back(time);
    }
  }
  nlohmann::json result;
  const auto median = [&](const std::string& name) {
    std::vector<double>& all = times[name];
    std::nth_element(all.begin(), all.begin() + static_cast<int64_t>(all.size() / 2), all.end());
    return all[all.size() / 2];
  };
  for (const auto& [name, work] : variants) result["us"][name] = median(name);
  const double copied = 8.0 * static_cast<double>(model.weights) / median("copy");  // bytes a microsecond
  result["device"] = at::cuda::getCurrentDeviceProperties()->name;
  result["weights"] = model.weights;
  result["copy_gb_per_s"] = copied / 1e3;
  result["bandwidth_share"] = 16.0 * static_cast<double>(model.weights) / median("all") / copied;
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace diffq

int main(int argc, char** argv) { return diffq::run(argc, argv); }
