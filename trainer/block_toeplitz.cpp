#include "trainer/block_toeplitz.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace diffq {
namespace {

constexpr int64_t kTile = 64;  // columns at a time: they stay in the nearest cache through all rotations

/// The matrix minus itself one block further down and right is upperᵀ·upper - lowerᵀ·lower, for two block
/// rows. Rotations that keep this difference and clear the first block of `lower` leave the factor's first
/// block row in `upper`; shifted by a block it is where the next one starts. All rows are of `size` numbers.
class SchurRows {
 public:
  SchurRows(int64_t signals, int64_t size, double* upper, double* lower)
      : signals_(signals),
        size_(size),
        upper_(upper),
        lower_(lower),
        mirror_(signals * signals),
        ratio_(signals),
        root_(signals) {}

  /// Block row `block` of the factor, from its diagonal on, is then in `upper`'s first columns. False when
  /// the matrix is not positive definite.
  bool advance(int64_t block) {
    const int64_t shift = block * signals_;
    for (int64_t row = 0; row < signals_; ++row) {
      if (!choose(row, shift)) return false;
      rotate(row, shift, 0, signals_);
    }
    for (int64_t begin = signals_; begin < size_ - shift; begin += kTile) {
      for (int64_t row = 0; row < signals_; ++row)
        rotate(row, shift, begin, std::min(size_ - shift, begin + kTile));
    }
    return true;
  }

 private:
  double* upper(int64_t row) { return upper_ + row * size_; }
  double* lower(int64_t row) { return lower_ + row * size_; }

  /// A Householder reflection that gathers column `row` of `lower` in its row 0, and the hyperbolic rotation
  /// with `upper`'s row that clears it there.
  bool choose(int64_t row, int64_t shift) {
    double* mirror = mirror_.data() + row * signals_;
    double squares = 0;
    for (int64_t i = 0; i < signals_; ++i) {
      mirror[i] = lower(i)[shift + row];
      squares += mirror[i] * mirror[i];
    }
    const double length = std::copysign(std::sqrt(squares), mirror[0]);
    const double scale = squares == 0 ? 0 : 1 / std::sqrt(squares + length * mirror[0]);
    mirror[0] += length;
    for (int64_t i = 0; i < signals_; ++i) mirror[i] *= scale;  // of length √2
    ratio_[row] = -length / upper(row)[row];
    root_[row] = std::sqrt((1 - ratio_[row]) * (1 + ratio_[row]));
    return root_[row] > 0;  // false for NaN
  }

  void rotate(int64_t row, int64_t shift, int64_t begin, int64_t end) {
    const double* mirror = mirror_.data() + row * signals_;
    const int64_t count = end - begin;
    double along[kTile] = {};
    for (int64_t i = 0; i < signals_; ++i) {
      const double* from = lower(i) + shift + begin;
      for (int64_t c = 0; c < count; ++c) along[c] += mirror[i] * from[c];
    }
    for (int64_t i = 0; i < signals_; ++i) {
      double* to = lower(i) + shift + begin;
      for (int64_t c = 0; c < count; ++c) to[c] -= mirror[i] * along[c];
    }
    // The second line uses the first one's result: the stable form.
    const double ratio = ratio_[row], root = root_[row], inverse = 1 / root;
    double *u = upper(row) + begin, *v = lower(0) + shift + begin;
    for (int64_t c = 0; c < count; ++c) {
      u[c] = (u[c] - ratio * v[c]) * inverse;
      v[c] = root * v[c] - ratio * u[c];
    }
  }

  int64_t signals_, size_;
  double *upper_, *lower_;
  std::vector<double> mirror_, ratio_, root_;  // of each row of `upper`
};

}  // namespace

std::optional<at::Tensor> solve_block_toeplitz(const at::Tensor& lagged, const at::Tensor& right) {
  const int64_t signals = lagged.size(0), taps = lagged.size(2), size = signals * taps,
                columns = right.size(2);
  const at::Tensor first = lagged.permute({1, 2, 0}).reshape({signals, size});  // the first block row
  const auto [corner, failed] = at::linalg_cholesky_ex(first.narrow(1, 0, signals));
  if (failed.item<int>() != 0) return std::nullopt;
  at::Tensor upper = at::linalg_solve_triangular(corner, first, /*upper=*/false).contiguous();
  at::Tensor lower = upper.clone();
  lower.narrow(1, 0, signals).zero_();
  at::Tensor x = right.permute({2, 1, 0}).reshape({columns, size}).contiguous().clone();
  double* const values = x.mutable_data_ptr<double>();

  SchurRows rows(signals, size, upper.mutable_data_ptr<double>(), lower.mutable_data_ptr<double>());
  std::vector<std::vector<double>> factor(static_cast<size_t>(taps));
  for (int64_t block = 0; block < taps; ++block) {
    if (block > 0 && !rows.advance(block)) return std::nullopt;
    const int64_t begin = block * signals, length = size - begin;
    std::vector<double>& kept = factor[static_cast<size_t>(block)];
    kept.reserve(static_cast<size_t>(signals * length));
    for (int64_t row = 0; row < signals; ++row) {
      const double* r = upper.const_data_ptr<double>() + row * size;
      kept.insert(kept.end(), r, r + length);
      for (int64_t column = 0; column < columns; ++column) {
        double* y = values + column * size + begin;
        y[row] /= r[row];
        for (int64_t c = row + 1; c < length; ++c) y[c] -= r[c] * y[row];
      }
    }
  }
  for (int64_t at = size - 1; at >= 0; --at) {
    const int64_t block = at / signals, row = at % signals, length = size - block * signals;
    const double* r = factor[static_cast<size_t>(block)].data() + row * length;
    for (int64_t column = 0; column < columns; ++column) {
      double* y = values + column * size + block * signals;
      double sum = y[row];
      for (int64_t c = row + 1; c < length; ++c) sum -= r[c] * y[c];
      y[row] = sum / r[row];
    }
  }
  return x.view({columns, taps, signals}).permute({2, 1, 0});
}

}  // namespace diffq
