// Against torch's dense solver, on matrices of correlations.

#include "trainer/block_toeplitz.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace diffq {
namespace {

/// [a, b, lag] = Σ_n x[a][n] · x[b][n + lag].
at::Tensor correlate(const at::Tensor& signals, int64_t taps) {
  const int64_t count = signals.size(0), samples = signals.size(1);
  at::Tensor lagged = at::zeros({count, count, taps}, at::kDouble);
  for (int64_t lag = 0; lag < taps; ++lag) {
    lagged.select(2, lag).copy_(
        at::mm(signals.narrow(1, 0, samples - lag), signals.narrow(1, lag, samples - lag).t()));
  }
  return lagged;
}

/// The whole matrix, row (a, i), column (b, j), from the definition.
at::Tensor dense(const at::Tensor& lagged) {
  const int64_t signals = lagged.size(0), taps = lagged.size(2);
  at::Tensor matrix = at::zeros({signals, taps, signals, taps}, at::kDouble);
  for (int64_t i = 0; i < taps; ++i) {
    for (int64_t j = 0; j < taps; ++j) {
      const at::Tensor block = i >= j ? lagged.select(2, i - j) : lagged.select(2, j - i).t();
      matrix.select(1, i).select(2, j).copy_(block);
    }
  }
  return matrix.view({signals * taps, signals * taps});
}

void expect_solved(const at::Tensor& lagged, double within) {
  const int64_t signals = lagged.size(0), taps = lagged.size(2);
  const at::Tensor right = torch::randn({signals, taps, 3}, at::kDouble);
  const auto x = solve_block_toeplitz(lagged, right);
  ASSERT_TRUE(x.has_value());
  const at::Tensor true_x =
      at::linalg_solve(dense(lagged), right.reshape({signals * taps, 3})).view_as(right);
  EXPECT_LE((*x - true_x).abs().max().item<double>(), within * true_x.abs().max().item<double>());
}

TEST(BlockToeplitz, SolvesAsTheDenseSolverDoes) {
  torch::manual_seed(1);
  for (const int64_t signals : {1, 2, 5}) {
    for (const int64_t taps : {1, 2, 33, 70}) {
      SCOPED_TRACE(std::to_string(signals) + " signals, " + std::to_string(taps) + " taps");
      expect_solved(correlate(torch::randn({signals, 500}, at::kDouble), taps), 1e-12);
    }
  }
}

TEST(BlockToeplitz, SmoothSignalsWhoseMatrixIsIllConditioned) {
  torch::manual_seed(2);
  const at::Tensor noise = torch::randn({3, 3000}, at::kDouble);
  // Sums over four neighbours: frequencies that nearly vanish.
  const at::Tensor smooth = noise.unfold(1, 4, 1).sum(2).unfold(1, 4, 1).sum(2);
  const at::Tensor lagged = correlate(smooth, 64);
  const at::Tensor values = at::linalg_eigvalsh(dense(lagged));
  const double condition = (values[-1] / values[0]).item<double>();
  EXPECT_GT(condition, 1e6);
  expect_solved(lagged, 1e-15 * condition);
}

TEST(BlockToeplitz, NothingWhereTheMatrixIsNotPositiveDefinite) {
  at::Tensor indefinite = at::zeros({1, 1, 3}, at::kDouble);
  indefinite[0][0][0] = 1;
  indefinite[0][0][2] = 2;  // a correlation greater than the energy
  EXPECT_FALSE(solve_block_toeplitz(indefinite, at::ones({1, 3, 1}, at::kDouble)).has_value());
  const at::Tensor silent = at::zeros({2, 2, 4}, at::kDouble);
  EXPECT_FALSE(solve_block_toeplitz(silent, at::ones({2, 4, 1}, at::kDouble)).has_value());
}

}  // namespace
}  // namespace diffq
