#include "quant/lsq.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "quant/grid.h"
#include "quant/ordered_sum.h"

namespace diffq {
Lsq::Lsq(const MethodSpec& method, QuantSpec quant, CodePath path)
    : BaseQuantizer(std::move(quant), path), bits_(method.bits) {
  if (bits_ < 2 || bits_ > 15)
    throw std::invalid_argument("bits: " + std::to_string(bits_) + "; lsq has 2 to 15");
  levels_ = ScaleLevels::of_bits(bits_);
}

void Lsq::initialize_own() {
  std::vector<double> sums(pieces_.size());
  for_each_piece(pieces_.size(), [&](size_t i) {
    const Piece& piece = pieces_[i];
    const float* master = quantized_[piece.tensor].master.const_data_ptr<float>();
    sums[i] = ordered_sum(piece.end - piece.begin,
                          [=](int64_t k) { return std::fabs(double{master[piece.begin + k]}); });
  });
  for (size_t t = 0; t < quantized_.size(); ++t) {
    double sum = 0;
    for (size_t i = spans_[t].first; i < spans_[t].last; ++i) sum += sums[i];
    const double mean = sum / static_cast<double>(quantized_[t].master.numel());
    *quantized_[t].own.data_ptr<float>() = static_cast<float>(2 * mean / std::sqrt(-double{levels_.lowest}));
  }
  constrain_own();
}

void Lsq::constrain_own() {
  for (QuantizedTensor& tensor : quantized_) {
    float* scale = tensor.own.data_ptr<float>();
    if (*scale < kLeastScale) *scale = kLeastScale;
  }
}

void Lsq::materialize_tensors_rounded() {
  for_each_piece(pieces_.size(), [&](size_t i) {
    const Piece& piece = pieces_[i];
    const QuantizedTensor& tensor = quantized_[piece.tensor];
    const float* master = tensor.master.const_data_ptr<float>();
    float* compute = tensor.compute.data_ptr<float>();
    const float scale = *tensor.own.const_data_ptr<float>();
    const ScaleLevels levels = levels_;
    for (int64_t k = piece.begin; k < piece.end; ++k) {
      compute[k] = round_half_even(levels.clamped(master[k] / scale)) * scale;
    }
  });
}

void Lsq::pull_back(std::span<const size_t> tensors) {
  std::vector<size_t> work;
  for (const size_t t : tensors) {
    for (size_t i = spans_.at(t).first; i < spans_[t].last; ++i) work.push_back(i);
  }
  piece_sums_.resize(pieces_.size());
  for_each_piece(work.size(), [&](size_t k) { piece_sums_[work[k]] = pull_back_piece(pieces_[work[k]]); });
  for (const size_t t : tensors) {
    double sum = 0;
    for (size_t i = spans_[t].first; i < spans_[t].last; ++i) sum += piece_sums_[i];
    *quantized_[t].own_gradient.data_ptr<float>() =
        static_cast<float>(sum * levels_.gradient_part(quantized_[t].master.numel()));
  }
}

double Lsq::pull_back_piece(const Piece& piece) {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const int64_t n = piece.end - piece.begin;
  const float* master = tensor.master.const_data_ptr<float>() + piece.begin;
  float* gradient = tensor.gradient.data_ptr<float>() + piece.begin;
  const float scale = *tensor.own.const_data_ptr<float>();
  const ScaleLevels levels = levels_;
  // Two loops without branches, which the compiler vectorises.
  float slopes[kPieceEntries], inside[kPieceEntries];
  for (int64_t k = 0; k < n; ++k) {
    const float u = master[k] / scale;
    inside[k] = levels.inside(u);
    slopes[k] = levels.scale_slope(u);
  }
  const double sum = ordered_dot(gradient, slopes, n);
  for (int64_t k = 0; k < n; ++k) gradient[k] = inside[k] != 0 ? gradient[k] : 0.0f;
  return sum;
}

double Lsq::stored_bits(size_t t) const {
  return static_cast<double>(bits_) * static_cast<double>(quantized_[t].master.numel()) + 32;
}

std::vector<Extremes> Lsq::level_ends(size_t t) const {
  const float scale = *quantized_[t].own.const_data_ptr<float>();
  return {{scale, scale}};
}

}  // namespace diffq
