// Whole bits for a size that was asked for: the size is met from below, by as few moves as will do.

#include <gtest/gtest.h>

#include <numeric>

#include "tests/quant/diffq_support.h"

namespace diffq {
namespace {

Bound<DiffQ> make_spread(const MethodSpec& method, double middle = 0) {
  Bound<DiffQ> bound =
      make(method, {random_weights(2003), random_weights(1000, 2)}, best_code_path(), {at::ones({100})});
  for (QuantizedTensor& tensor : bound.tensors) tensor.own.copy_(at::randn_like(tensor.own) * 0.7 + middle);
  return bound;
}

std::vector<int> all_bits(const Bound<DiffQ>& bound) {
  std::vector<int> all;
  for (const TensorBits& tensor : bound.quantizer->bits())
    all.insert(all.end(), tensor.bits.begin(), tensor.bits.end());
  return all;
}

TEST(FitSize, EndsJustBelowTheTarget) {
  for (const Parametrisation parametrisation : {Parametrisation::bits, Parametrisation::noise}) {
    for (const int64_t group : {1, 3, 8}) {
      const MethodSpec method = diffq_method(group, NoiseKind::gaussian, parametrisation);
      Bound<DiffQ> probe = make_spread(method);
      const double before = probe.quantizer->size_mb();
      for (const double part : {0.4, 0.6, 0.9, 0.999, 1.0, 1.02, 1.3}) {
        Bound<DiffQ> bound = make_spread(method);
        bound.quantizer->fit_size(part * before);
        EXPECT_LE(bound.quantizer->size_mb(), part * before) << part;
        EXPECT_GT(bound.quantizer->size_mb(), 0.99 * part * before) << part;
        const auto [least, most] = std::ranges::minmax(all_bits(bound));
        EXPECT_GE(least, 2);
        EXPECT_LE(most, 15);
      }
    }
  }
}

TEST(FitSize, TheLeastSizeIsThatOfTheLeastBitsAndChangesNothing) {
  Bound<DiffQ> bound = make_spread(diffq_method(8));
  const at::Tensor logits = bound.tensors[0].own.clone();
  const double size = bound.quantizer->size_mb(), least = bound.quantizer->least_size_mb();
  EXPECT_TRUE(at::equal(bound.tensors[0].own, logits));
  EXPECT_EQ(bound.quantizer->size_mb(), size);
  bound.quantizer->fit_size(1e-9);
  EXPECT_EQ(bound.quantizer->size_mb(), least);
  EXPECT_LT(least, 0.8 * size);
}

TEST(FitSize, WhatIsNearestToRoundingOtherwiseMoves) {
  Bound<DiffQ> bound = make_spread(diffq_method(8));
  const std::vector<double> real = doubles(bound.quantizer->real_bits(0));
  const std::vector<int> before = bound.quantizer->bits()[0].bits;
  bound.quantizer->fit_size(0.97 * bound.quantizer->size_mb());
  const std::vector<int> after = bound.quantizer->bits()[0].bits;
  double furthest_moved = 0, nearest_kept = 1;
  size_t moved = 0;
  for (size_t k = 0; k < before.size(); ++k) {
    const double distance = real[k] - (before[k] - 0.5);
    if (before[k] == 2) continue;
    if (after[k] == before[k]) {
      nearest_kept = std::min(nearest_kept, distance);
    } else {
      EXPECT_EQ(after[k], before[k] - 1);
      furthest_moved = std::max(furthest_moved, distance);
      ++moved;
    }
  }
  EXPECT_GT(moved, 15u);
  EXPECT_LE(furthest_moved, nearest_kept + 1e-6);
}

/// Equal groups go in their order, and a size that is met is left alone.
TEST(FitSize, IsAFunctionOfTheLogitsAlone) {
  Bound<DiffQ> bound = make(diffq_method(8), {random_weights(800)});
  const double start = bound.quantizer->size_mb();
  bound.quantizer->fit_size(start);
  EXPECT_EQ(all_bits(bound), std::vector<int>(100, 8));
  bound.quantizer->fit_size(start - 30 * 8 / 8.0 / 1048576);
  std::vector<int> expected(100, 8);
  std::fill_n(expected.begin(), 30, 7);
  EXPECT_EQ(all_bits(bound), expected);
  const at::Tensor logits = bound.tensors[0].own.clone();
  bound.quantizer->fit_size(start - 30 * 8 / 8.0 / 1048576);
  EXPECT_TRUE(at::equal(bound.tensors[0].own, logits));
}

/// Just above the least size a wider table is more than there is room for in the large tensor, not in the
/// small.
TEST(FitSize, WhereATableOfBitsIsTooMuchForTheLargestTensor) {
  Bound<DiffQ> bound = make(diffq_method(8), {random_weights(80000), random_weights(4000, 2)});
  for (QuantizedTensor& tensor : bound.tensors) tensor.own.fill_(-100);
  const double target = 1.03 * bound.quantizer->size_mb();
  bound.quantizer->fit_size(target);
  EXPECT_LE(bound.quantizer->size_mb(), target);
  EXPECT_GT(bound.quantizer->size_mb(), 0.99 * target);
  EXPECT_EQ(bound.quantizer->bits()[0].bits, std::vector<int>(10000, 2));
}

TEST(FitSize, TheLeastSizeWhereTheTargetIsBelow) {
  for (const double min_bits : {1.0, 2.0, 2.5, 3.0}) {
    MethodSpec method = diffq_method(8);
    method.min_bits = min_bits;
    Bound<DiffQ> bound = make_spread(method, 1);
    bound.quantizer->fit_size(1e-9);
    const double fitted = bound.quantizer->size_mb();
    for (QuantizedTensor& tensor : bound.tensors) tensor.own.fill_(-100);
    EXPECT_DOUBLE_EQ(fitted, bound.quantizer->size_mb()) << min_bits;
  }
}

}  // namespace
}  // namespace diffq
