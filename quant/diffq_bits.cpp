// DiffQ's bits: what logits stand for, and whole bits for a size that was asked for.

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log2.h>
#include <ATen/ops/sigmoid.h>

#include <algorithm>
#include <cmath>

#include "quant/diffq.h"
#include "quant/grid.h"

namespace diffq {
namespace {

/// Published limits of the bits as evaluated and packed.
constexpr int kFewestBits = 1, kMostBits = 15;  // unless groups may vanish

/// How far inside the bits that it was moved to a group ends: not so near to the edge that an average over
/// steps or another rounding would bring it back.
constexpr double kInside = 0.05;

/// A logit whose bits are min_bits or, without the sign, max_bits, to the last digit.
constexpr float kFarthest = 100;

/// One group that could have a bit more or less.
struct Move {
  double distance;  ///< of its bits from where they round otherwise
  float* logit;
  float before, after;
};

}  // namespace

/// The logit that stands for so many bits, between min_bits and max_bits.
float DiffQ::logit_of(double bits) const {
  double part = (bits - method_.min_bits) / (method_.max_bits - method_.min_bits);
  if (method_.parametrisation == Parametrisation::noise) {
    const double low = -std::log(std::exp2(method_.min_bits) - 1),
                 high = -std::log(std::exp2(method_.max_bits) - 1);
    part = (-std::log(std::exp2(bits) - 1) - low) / (high - low);
  }
  return static_cast<float>(std::log(part / (1 - part)));
}

void DiffQ::initialize_own() {
  for (QuantizedTensor& tensor : quantized_) tensor.own.fill_(logit_of(method_.init_bits));
}

at::Tensor DiffQ::real_bits(size_t t) const {
  const at::Tensor part = at::sigmoid(quantized_[t].own);
  if (method_.parametrisation == Parametrisation::bits)
    return method_.max_bits * part + method_.min_bits * (1 - part);
  const double low = -std::log(std::exp2(method_.min_bits) - 1),
               high = -std::log(std::exp2(method_.max_bits) - 1);
  return at::log2(1 + 1 / at::exp(high * part + low * (1 - part)));
}

std::vector<int> DiffQ::group_bits(size_t t) const {
  const at::Tensor real = real_bits(t);
  const float* values = real.const_data_ptr<float>();
  std::vector<int> bits(static_cast<size_t>(real.numel()));
  for (size_t k = 0; k < bits.size(); ++k) {
    bits[k] =
        std::clamp(static_cast<int>(round_half_even(values[k])), vanishes() ? 0 : kFewestBits, kMostBits);
  }
  return bits;
}

/// Gives groups of these tensors one bit more or less (`by`), nearest first: as few as bring the size to the
/// target, or as many as keep it there. `widen`: also groups that would become their tensor's widest, which
/// may take a wider table of bits. Returns how many were moved.
size_t DiffQ::move_bits(int by, std::span<const size_t> tensors, bool widen, double target_mb) {
  const float fewest = vanishes() ? 0 : kFewestBits;
  const auto least =
      static_cast<int>(std::max(fewest, round_half_even(static_cast<float>(method_.min_bits))));
  const auto most = static_cast<int>(round_half_even(static_cast<float>(method_.max_bits)));
  std::vector<Move> moves;
  double others = kept_bits();  // bits of all that does not change
  for (size_t t = 0; t < quantized_.size(); ++t) {
    if (!std::ranges::count(tensors, t)) others += stored_bits(t);
  }
  for (const size_t t : tensors) {
    const at::Tensor real = real_bits(t);
    const std::vector<int> bits = group_bits(t);
    const int widest = bits.empty() ? 0 : *std::ranges::max_element(bits);
    float* logits = quantized_[t].own.data_ptr<float>();
    for (size_t k = 0; k < bits.size(); ++k) {
      const int whole = bits[k] + by;
      if (whole < least || whole > most || (whole > widest && !widen)) continue;
      const double edge = bits[k] + 0.5 * by, moved = edge + kInside * by;
      const float logit = moved <= method_.min_bits   ? -kFarthest
                          : moved >= method_.max_bits ? kFarthest
                                                      : logit_of(moved);
      moves.push_back({std::fabs(real.const_data_ptr<float>()[k] - edge), logits + k, logits[k], logit});
    }
  }
  std::ranges::stable_sort(moves, {}, &Move::distance);
  const auto size_with = [&](size_t count) {
    for (size_t i = 0; i < moves.size(); ++i) *moves[i].logit = i < count ? moves[i].after : moves[i].before;
    double bits = others;
    for (const size_t t : tensors) bits += stored_bits(t);
    return bits / kBitsPerMb;
  };
  // The size is monotone in the number of moves; `fits` of them will do, `beyond` is the other side.
  size_t fits = by < 0 ? moves.size() : 0, beyond = by < 0 ? 0 : moves.size() + 1;
  while (std::max(fits, beyond) - std::min(fits, beyond) > 1) {
    const size_t middle = (fits + beyond) / 2;
    (size_with(middle) <= target_mb ? fits : beyond) = middle;
  }
  size_with(fits);
  return fits;
}

double DiffQ::least_size_mb() {
  std::vector<at::Tensor> kept;
  for (QuantizedTensor& tensor : quantized_) {
    kept.push_back(tensor.own.clone());
    tensor.own.fill_(-kFarthest);
  }
  const double least = size_mb();
  for (size_t t = 0; t < kept.size(); ++t) quantized_[t].own.copy_(kept[t]);
  return least;
}

void DiffQ::fit_size(double target_mb) {
  std::vector<size_t> all(quantized_.size());
  for (size_t t = 0; t < all.size(); ++t) all[t] = t;
  while (size_mb() > target_mb && move_bits(-1, all, true, target_mb) > 0) {
  }
  if (size_mb() > target_mb) return;
  // A wider table may be more than there is room for: each tensor is asked by itself.
  for (bool more = true; more;) {
    more = move_bits(+1, all, false, target_mb) > 0;
    for (const size_t& t : all) more = move_bits(+1, {&t, 1}, true, target_mb) > 0 || more;
  }
}

}  // namespace diffq
