// BSS Eval of signals in a file, for comparison in one run with museval (tests/bench/compare_bss.py starts
// both in turn). Prints one JSON object: seconds and scores.
//   bss_bench FILE sources channels [threads] [times]   FILE: references, then estimates, float32 [sources,
//   samples, channels]

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "trainer/bss_eval.h"

int main(int argc, char** argv) {
  using namespace diffq;
  if (argc < 4) return 2;
  const int64_t sources = std::atoi(argv[2]), channels = std::atoi(argv[3]);
  at::set_num_threads(argc > 4 ? std::atoi(argv[4]) : 2);
  const int times = argc > 5 ? std::atoi(argv[5]) : 1;
  std::ifstream file(argv[1], std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const at::Tensor both =
      torch::from_blob(bytes.data(), {2, sources, int64_t(bytes.size()) / (8 * sources * channels), channels},
                       at::kFloat)
          .transpose(2, 3)
          .contiguous();
  nlohmann::json found{{"seconds", nlohmann::json::array()}};
  for (int round = 0; round < times; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const BssScores scores = bss_eval(both[0], both[1], {});
    found["seconds"].push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    const at::Tensor all = at::stack({scores.sdr, scores.isr, scores.sir, scores.sar}).contiguous();
    found["scores"] =
        std::vector<double>(all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel());
  }
  std::printf("%s\n", found.dump().c_str());
}
