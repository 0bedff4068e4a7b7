#include "datasets/order.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "datasets/dataset.h"

namespace diffq {
namespace {

// Keeps the order of the data apart from everything else that is drawn from the same seed.
constexpr uint64_t kOrderTag = 0x6f72646572;  // "order"

// Uniform in [0, bound): the high half of a 64-bit draw times bound, so the bias is below bound / 2^64.
uint64_t draw_below(at::Philox4_32& random, uint64_t bound) {
  const uint64_t high = random();
  const uint64_t low = random();
  return static_cast<uint64_t>((static_cast<unsigned __int128>(high << 32 | low) * bound) >> 64);
}

}  // namespace

std::vector<int64_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch) {
  if (count < 0 || epoch < 0) {
    throw std::invalid_argument("epoch_order: count " + std::to_string(count) + " and epoch " +
                                std::to_string(epoch) + " must not be negative");
  }
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  at::Philox4_32 random(seed ^ kOrderTag, static_cast<uint64_t>(epoch));
  for (int64_t i = count - 1; i > 0; --i) {
    std::swap(order[i], order[draw_below(random, static_cast<uint64_t>(i) + 1)]);
  }
  return order;
}

std::vector<int64_t> repeated_order(int64_t count, uint64_t seed, int64_t epoch, int64_t repeats,
                                    int64_t batch_size) {
  if (repeats < 1 || batch_size < 1) {
    throw std::invalid_argument("repeated_order: repeats " + std::to_string(repeats) + " and batch_size " +
                                std::to_string(batch_size) + " must be at least 1");
  }
  const std::vector<int64_t> order = epoch_order(count, seed, epoch);
  std::vector<int64_t> draws;
  draws.reserve(count);
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    const int64_t end = std::min(begin + batch_size, count);
    for (int64_t copy = 0; copy < repeats; ++copy) {
      // Draw i of the epoch is copy i % repeats of sample i / repeats of the permutation.
      int64_t i = begin + (copy - begin % repeats + repeats) % repeats;
      for (; i < end; i += repeats) draws.push_back(order[i / repeats] + copy * kCopyStride);
    }
  }
  return draws;
}

Slice rank_slice(int64_t count, int rank, int size) {
  if (size < 1 || rank < 0 || rank >= size) {
    throw std::invalid_argument("rank_slice: there is no rank " + std::to_string(rank) + " of " +
                                std::to_string(size));
  }
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace diffq
