#include "trainer/remix.h"

#include <ATen/core/PhiloxRNGEngine.h>
#include <torch/torch.h>

#include <algorithm>
#include <numeric>

namespace diffq {
namespace {

constexpr uint64_t kRemixTag = 0x72656d6978;  // "remix": keeps these draws apart from others of the same seed

}  // namespace

Batch remix(Batch batch, int64_t group, uint64_t seed, int64_t epoch, int64_t first_place) {
  if (group <= 1) return batch;
  const int64_t count = batch.target.size(0), stems = batch.target.size(1);
  at::Tensor mixed = at::empty_like(batch.target);
  std::vector<int64_t> order(static_cast<size_t>(count));
  for (int64_t stem = 0; stem < stems; ++stem) {
    std::iota(order.begin(), order.end(), 0);
    for (int64_t begin = 0; begin < count; begin += group) {
      // More room for a group's stem than it will ever draw from.
      at::Philox4_32 random(seed ^ kRemixTag, static_cast<uint64_t>((first_place + begin) * stems + stem),
                            static_cast<uint64_t>(epoch) << 32);
      for (int64_t left = std::min(group, count - begin); left > 1; --left) {
        const auto chosen = static_cast<int64_t>((uint64_t{random()} * static_cast<uint64_t>(left)) >> 32);
        std::swap(order[begin + left - 1], order[begin + chosen]);
      }
    }
    mixed.select(1, stem).copy_(batch.target.select(1, stem).index_select(0, torch::tensor(order)));
  }
  return {mixed.sum(1), mixed};
}

}  // namespace diffq
