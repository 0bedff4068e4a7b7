#include "quant/base_quantizer.h"

#include <ATen/autocast_mode.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string_view>

namespace diffq {
namespace {

bool matches(const std::string& glob, const std::string& name) {
  return fnmatch(glob.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
}

void check_buffer(const std::string& name, const char* role, const at::Tensor& buffer, int64_t numel) {
  if (!buffer.defined() || !buffer.is_cpu() || buffer.scalar_type() != at::kFloat ||
      !buffer.is_contiguous() || buffer.numel() != numel) {
    throw std::invalid_argument("quantizer: " + std::string(role) + " of " + name +
                                " must be a contiguous float32 CPU tensor of " + std::to_string(numel) +
                                " entries");
  }
}

// Autocast keeps the bf16 copy that it made of a weight, and does not see that we wrote the weight anew.
void forget_low_precision_copies() { at::autocast::clear_cache(); }

}  // namespace

BaseQuantizer::BaseQuantizer(QuantSpec quant, CodePath path)
    : quant_(std::move(quant)), kernels_(kernels(path)) {}

bool BaseQuantizer::selects(const std::string& name, int64_t numel) const {
  const auto threshold =
      static_cast<int64_t>(std::floor(std::max(0.0, quant_.min_size_mb) * 1048576.0 / 4.0));
  if (numel <= threshold) return false;
  const std::string last = name.substr(name.rfind('.') + 1);
  return std::none_of(quant_.exclude.begin(), quant_.exclude.end(),
                      [&](const std::string& glob) { return matches(glob, name) || matches(glob, last); });
}

void BaseQuantizer::bind(std::vector<QuantizedTensor> quantized, std::vector<KeptTensor> kept) {
  quantized_ = std::move(quantized);
  kept_ = std::move(kept);
  pieces_.clear();
  spans_.clear();
  for (size_t t = 0; t < quantized_.size(); ++t) {
    const QuantizedTensor& tensor = quantized_[t];
    const int64_t numel = tensor.master.numel();
    check_buffer(tensor.name, "master", tensor.master, numel);
    check_buffer(tensor.name, "compute", tensor.compute, numel);
    if (tensor.compute.data_ptr() == tensor.master.data_ptr()) {
      throw std::invalid_argument("quantizer: compute of " + tensor.name + " must not be its master");
    }
    if (tensor.gradient.defined()) check_buffer(tensor.name, "gradient", tensor.gradient, numel);
    if (const int64_t own = own_count(numel); own > 0) {
      check_buffer(tensor.name, "own", tensor.own, own);
      if (tensor.own_gradient.defined()) check_buffer(tensor.name, "own_gradient", tensor.own_gradient, own);
    }
    spans_.push_back(cut_pieces(t, numel, group_entries(numel), pieces_));
  }
  piece_extremes_.resize(pieces_.size());
  extremes_.resize(quantized_.size());
}

void BaseQuantizer::materialize(NoiseKey key) {
  if (copies_kept()) {
    for (KeptTensor& tensor : kept_) tensor.compute.copy_(tensor.master);
  }
  materialize_tensors(key);
  forget_low_precision_copies();
}

void BaseQuantizer::materialize_rounded() {
  if (copies_kept()) {
    for (KeptTensor& tensor : kept_) tensor.compute.copy_(tensor.master.to(at::kHalf));
  }
  materialize_tensors_rounded();
  forget_low_precision_copies();
}

std::vector<TensorBits> BaseQuantizer::bits() const {
  std::vector<TensorBits> all;
  for (size_t t = 0; t < quantized_.size(); ++t) {
    const int64_t numel = quantized_[t].master.numel();
    all.push_back({quantized_[t].name, numel, group_entries(numel), group_bits(t)});
  }
  return all;
}

TensorLayout BaseQuantizer::layout(size_t t) const {
  const int64_t numel = quantized_.at(t).master.numel();
  return {numel, group_entries(numel), grid(), channels(t)};
}

std::vector<uint8_t> BaseQuantizer::pack(size_t t, Coding coding) const {
  const at::Tensor& master = quantized_.at(t).master;
  const std::vector<int> group_widths = group_bits(t);
  const std::vector<uint8_t> widths(group_widths.begin(), group_widths.end());
  const std::vector<Extremes> ends = level_ends(t);
  return pack_tensor({layout(t), master.const_data_ptr<float>(), widths, ends}, coding);
}

double BaseQuantizer::size_mb() const {
  double bits = kept_bits();
  for (size_t t = 0; t < quantized_.size(); ++t) bits += stored_bits(t);
  return bits / kBitsPerMb;
}

double BaseQuantizer::kept_bits() const {
  double entries = 0;
  for (const KeptTensor& tensor : kept_) entries += static_cast<double>(tensor.master.numel());
  return entries * (copies_kept() ? 16 : 32);
}

void BaseQuantizer::find_extremes(size_t first, size_t last) {
  if (first == last) return;
  const size_t first_piece = spans_[first].first;
  for_each_piece(spans_[last - 1].last - first_piece, [&](size_t i) {
    const Piece& piece = pieces_[first_piece + i];
    const float* master = quantized_[piece.tensor].master.const_data_ptr<float>();
    Extremes& found = piece_extremes_[first_piece + i];
    kernels_.extremes(master + piece.begin, piece.end - piece.begin, &found.min, &found.max);
  });
  for (size_t t = first; t < last; ++t) {
    extremes_[t] =
        join_extremes(std::span(piece_extremes_).subspan(spans_[t].first, spans_[t].last - spans_[t].first));
  }
}

Extremes BaseQuantizer::tensor_extremes(size_t tensor) const {
  const PieceSpan& span = spans_.at(tensor);
  const float* master = quantized_[tensor].master.const_data_ptr<float>();
  std::vector<Extremes> parts(span.last - span.first);
  for_each_piece(parts.size(), [&](size_t i) {
    const Piece& piece = pieces_[span.first + i];
    kernels_.extremes(master + piece.begin, piece.end - piece.begin, &parts[i].min, &parts[i].max);
  });
  return join_extremes(parts);
}

}  // namespace diffq
