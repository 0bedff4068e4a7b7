#pragma once
// Linear equations whose matrix is made of correlations of signals with themselves, delayed: block Toeplitz,
// so that its Cholesky factor comes out of one block row in O(n²) by Schur's algorithm, as stable as a
// Cholesky factorisation (Bojanczyk, Brent, de Hoog, Sweet, SIAM J. Matrix Anal. Appl. 16(1), 1995).

#include <ATen/core/Tensor.h>

#include <optional>

namespace diffq {

/// x of Σ over (b, j) of lagged[a][b][i - j] · x[b][j] = right[a][i], for every a and i.
/// lagged: float64 [signals, signals, taps], with lagged[a][b][-lag] = lagged[b][a][lag]; right: float64
/// [signals, taps, columns]; x is of right's shape. Nothing where the matrix is not positive definite in
/// float64.
std::optional<at::Tensor> solve_block_toeplitz(const at::Tensor& lagged, const at::Tensor& right);

}  // namespace diffq
