#include "datasets/order.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

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

Slice rank_slice(int64_t count, int rank, int size) {
  if (size < 1 || rank < 0 || rank >= size) {
    throw std::invalid_argument("rank_slice: there is no rank " + std::to_string(rank) + " of " +
                                std::to_string(size));
  }
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace diffq
