#include "quant/uniform.h"

#include <algorithm>
#include <stdexcept>

#include "quant/ordered_sum.h"

namespace diffq {
namespace {

/// About as many weights as decide on a clip, and the steps in which an end is drawn in.
constexpr int64_t kClipSample = 1 << 20;
constexpr int kClipSteps = 64;

double squared_error(const float* weights, int64_t n, int64_t stride, const Grid& grid) {
  return ordered_sum((n + stride - 1) / stride, [&](int64_t k) {
    const double error = double{grid.round(weights[k * stride])} - double{weights[k * stride]};
    return error * error;
  });
}

}  // namespace

Grid least_squares_grid(const float* weights, int64_t n, Grid grid) {
  if (grid.is_point()) return grid;
  const int64_t stride = std::max<int64_t>(1, n / kClipSample);
  const float low = grid.low, high = grid.high, middle = low + (high - low) / 2;
  const auto drawn_in = [&](float end, int step) {
    return end + (middle - end) * static_cast<float>(step) / kClipSteps;
  };
  Grid best = grid;
  double least = squared_error(weights, n, stride, best);
  const auto try_ends = [&](float new_low, float new_high) {
    const Grid candidate{new_low, new_high, grid.top};
    if (candidate.is_point()) return;
    if (const double error = squared_error(weights, n, stride, candidate); error < least) {
      least = error;
      best = candidate;
    }
  };
  for (int step = 1; step < kClipSteps; ++step) try_ends(drawn_in(low, step), drawn_in(high, step));
  for (int step = 0; step < kClipSteps; ++step) try_ends(drawn_in(low, step), best.high);
  for (int step = 0; step < kClipSteps; ++step) try_ends(best.low, drawn_in(high, step));
  return best;
}

Uniform::Uniform(const MethodSpec& method, QuantSpec quant, CodePath path)
    : BaseQuantizer(std::move(quant), path),
      bits_(method.bits),
      clip_(method.method == Method::ptq ? method.clip : Clip::minmax),
      rounds_in_training_(method.method == Method::qat) {
  if (bits_ < 1 || bits_ > 15)
    throw std::invalid_argument("bits: " + std::to_string(bits_) + "; qat and ptq have 1 to 15");
}

Grid Uniform::clipped_grid(size_t t, Extremes extremes) const {
  const Grid whole{extremes.min, extremes.max, Grid::top_of(bits_)};
  const at::Tensor& master = quantized_[t].master;
  return clip_ == Clip::mse ? least_squares_grid(master.const_data_ptr<float>(), master.numel(), whole)
                            : whole;
}

void Uniform::materialize_tensors(NoiseKey) {
  if (rounds_in_training_) {
    materialize_tensors_rounded();
    return;
  }
  for_each_piece(pieces_.size(), [&](size_t i) {
    const Piece& piece = pieces_[i];
    const float* master = quantized_[piece.tensor].master.const_data_ptr<float>();
    std::copy(master + piece.begin, master + piece.end,
              quantized_[piece.tensor].compute.data_ptr<float>() + piece.begin);
  });
}

void Uniform::materialize_tensors_rounded() {
  find_extremes();
  std::vector<Grid> grids(quantized_.size());
  for_each_piece(grids.size(), [&](size_t t) { grids[t] = clipped_grid(t, extremes_[t]); });
  for_each_piece(pieces_.size(), [&](size_t i) {
    const Piece& piece = pieces_[i];
    const Grid grid = grids[piece.tensor];
    const float* master = quantized_[piece.tensor].master.const_data_ptr<float>();
    float* compute = quantized_[piece.tensor].compute.data_ptr<float>();
    if (grid.is_point()) {
      std::copy(master + piece.begin, master + piece.end, compute + piece.begin);
      return;
    }
    for (int64_t k = piece.begin; k < piece.end; ++k) compute[k] = grid.round(master[k]);
  });
}

double Uniform::stored_bits(size_t t) const {
  return static_cast<double>(bits_) * static_cast<double>(quantized_[t].master.numel()) + 64;
}

std::vector<Extremes> Uniform::level_ends(size_t t) const {
  const Grid ends = clipped_grid(t, tensor_extremes(t));
  return {{ends.low, ends.high}};
}

}  // namespace diffq
