// Packing and unpacking of ResNet-18 with groups of 8 and widths from 2 to 8, for comparison in one run with
// the published package (tests/bench/compare_packing.py starts both in turn). Prints one JSON object.
//   pack_bench [threads] [rounds]

#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "trainer/memory.h"
#include "trainer/model_file.h"
#include "trainer/task.h"

namespace {

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace diffq;
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 2);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 10;
  MethodSpec method;
  method.method = Method::diffq;
  const auto task = make_task({.model = {.name = ModelName::resnet18}}, ImageShape{3, 32, 32, 10});
  const auto quantizer = make_quantizer(method, {});
  const ParameterStore store(task->module(), *quantizer);
  quantizer->initialize_own();
  at::Tensor logits = store.own();
  logits.uniform_(-6, -0.2);  // bits 2.03 to 7.85
  int64_t weights = 0;
  size_t largest = 0;
  std::vector<std::vector<uint8_t>> packed(store.entries().size());
  for (const ParameterEntry& entry : store.entries()) {
    weights += entry.quantized ? entry.numel : 0;
    largest = std::max(largest, static_cast<size_t>(entry.numel));
  }
  std::vector<float> values(largest);
  nlohmann::json times{{"pack_s", nlohmann::json::array()},
                       {"unpack_s", nlohmann::json::array()},
                       {"fp32_bytes", 4 * weights}};
  reset_peak_memory();
  const double before = peak_memory_mb();
  for (int round = -2; round < rounds; ++round) {  // two to warm up
    const double pack = seconds([&] {
      for (const ParameterEntry& entry : store.entries())
        if (entry.quantized)
          packed[entry.quantizer_index] = quantizer->pack(entry.quantizer_index, Coding::bits);
    });
    const double unpack = seconds([&] {
      for (const ParameterEntry& entry : store.entries()) {
        if (!entry.quantized) continue;
        const size_t t = entry.quantizer_index;
        unpack_tensor(quantizer->layout(t), Coding::bits, packed[t], values.data());
      }
    });
    if (round == -2) {  // the first one takes the memory
      int64_t bytes = 0;
      for (const auto& tensor : packed) bytes += static_cast<int64_t>(tensor.size());
      times["peak_mb"] = peak_memory_mb() - before;
      times["packed_and_largest_tensor_mb"] =
          static_cast<double>(bytes + 4 * static_cast<int64_t>(largest)) / (1 << 20);
    }
    if (round < 0) continue;
    times["pack_s"].push_back(pack);
    times["unpack_s"].push_back(unpack);
  }
  std::printf("%s\n", times.dump().c_str());
}
