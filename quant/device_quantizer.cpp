#include "quant/device_quantizer.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "quant/device_memory.h"
#include "quant/lsq.h"
#include "quant/pieces.h"

namespace diffq {

/// Of ModelTable, while it is put together.
struct TableRows {
  std::vector<Segment> segments;
  std::vector<Stretch> chunks, pieces;
  int64_t groups = 0, sums = 0;
  int32_t chunk_groups = 0;
};

namespace {

/// The most that a chunk has a part of.
int32_t groups_of_chunk(const Segment& segment) {
  const int64_t whole = kChunkEntries / segment.group_size;
  const int64_t most = kChunkEntries % segment.group_size == 0 ? whole : whole + 2;
  return static_cast<int32_t>(std::min(most, segment.groups));
}

void check_on_device(const std::string& name, const at::Tensor& buffer, const at::Device& device,
                     at::ScalarType type = at::kFloat) {
  if (!buffer.defined() || buffer.device() != device || buffer.scalar_type() != type ||
      !buffer.is_contiguous()) {
    throw std::invalid_argument("quantizer: the buffers of " + name + " must be contiguous " +
                                at::toString(type) + " tensors on " + device.str());
  }
}

/// Has it see this memory from now on. Unlike set_data this leaves its gradient's accumulator, with the
/// hooks on it, when the type changes; nothing of autograd is under way meanwhile.
void point(at::Tensor& parameter, const at::Tensor& memory) {
  parameter.unsafeGetTensorImpl()->shallow_copy_from(memory.view(parameter.sizes()).getIntrusivePtr());
}

}  // namespace

#ifndef DIFFQ_WITH_CUDA
const DeviceKernels& cuda_kernels() {
  throw std::runtime_error("this program was built without CUDA: it trains on the CPU alone");
}
#endif

DeviceQuantizer::DeviceQuantizer(const MethodSpec& method, const QuantSpec& quant,
                                 const DeviceKernels& kernels)
    : method_(method),
      kernels_(kernels),
      map_(make_group_map(method.parametrisation, method.min_bits, method.max_bits)),
      levels_(ScaleLevels::of_bits(method.bits)),
      host_(make_quantizer(method, quant)) {
  // 2^b - 1 of fewer bits is 0 in float32, and its reciprocal not what it is on the CPU.
  constexpr double kLeastBits = 1e-6;
  if (method.method == Method::diffq && (method.range == RangeOf::channel || method.min_bits < kLeastBits))
    throw std::invalid_argument(
        "diffq: range channel and min_bits 0 are for the CPU alone so far; leave them out, or the GPU");
}

Stream DeviceQuantizer::stream() const {
  return quantized_.empty() ? nullptr : current_stream(quantized_.front().master.device());
}

void DeviceQuantizer::bind(std::vector<QuantizedTensor> quantized, std::vector<KeptTensor> kept) {
  quantized_ = std::move(quantized);
  kept_ = std::move(kept);
  copies_.clear();
  for (const QuantizedTensor& tensor : quantized_) {
    const at::Device device = quantized_.front().master.device();
    check_on_device(tensor.name, tensor.master, device);
    check_on_device(tensor.name, tensor.compute, device,
                    tensor.parameter.defined() ? at::kBFloat16 : at::kFloat);
    check_on_device(tensor.name, tensor.gradient, device);
    QuantizedTensor copy;
    copy.name = tensor.name;
    copy.master = at::empty({tensor.master.numel()}, at::kFloat);
    copy.compute = at::empty_like(copy.master);
    if (own_count(tensor.master.numel()) > 0) {
      check_on_device(tensor.name, tensor.own, device);
      check_on_device(tensor.name, tensor.own_gradient, device);
      copy.own = at::empty({tensor.own.numel()}, at::kFloat);
    }
    copies_.push_back(std::move(copy));
  }
  host_->bind(copies_, kept_);
  if (!quantized_.empty()) fill_table();
}

void DeviceQuantizer::fill_table() {
  TableRows rows;
  for (size_t t = 0; t < quantized_.size(); ++t) add_segment(t, rows);
  const auto options = quantized_.front().master.options();
  const auto count = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  table_memory_ = {upload(rows.segments, options.device()),
                   upload(rows.chunks, options.device()),
                   upload(rows.pieces, options.device()),
                   at::zeros({2 * count(rows.segments)}, options.dtype(at::kInt)),
                   at::zeros({2 * count(rows.chunks)}, options.dtype(at::kInt)),
                   upload(std::vector<EndEntries>(2 * rows.segments.size()), options.device()),
                   at::zeros({rows.sums}, options.dtype(at::kDouble)),
                   at::zeros({sizeof(StepScalars)}, options.dtype(at::kByte))};
  const auto memory = [&](size_t i) { return table_memory_[i].mutable_data_ptr(); };
  table_.segments = static_cast<const Segment*>(memory(0));
  table_.segment_count = static_cast<int32_t>(rows.segments.size());
  table_.chunks = static_cast<const Stretch*>(memory(1));
  table_.chunk_count = static_cast<int32_t>(rows.chunks.size());
  table_.chunk_groups = rows.chunk_groups;
  table_.pieces = static_cast<const Stretch*>(memory(2));
  table_.piece_entries = kPieceEntries;
  table_.extremes = static_cast<uint32_t*>(memory(3));
  table_.chunk_extremes = static_cast<uint32_t*>(memory(4));
  table_.end_entries = static_cast<EndEntries*>(memory(5));
  table_.sums = static_cast<double*>(memory(6));
  table_.scalars = static_cast<StepScalars*>(memory(7));
  sent_ = {};
  segments_ = std::move(rows.segments);
  if (method_.method == Method::diffq) widths_ = at::zeros({rows.groups}, options.dtype(at::kByte));
}

void DeviceQuantizer::add_segment(size_t t, TableRows& rows) const {
  const QuantizedTensor& tensor = quantized_[t];
  const auto place = [](const auto& list) { return static_cast<int32_t>(list.size()); };
  Segment segment{};
  segment.master = tensor.master.const_data_ptr<float>();
  segment.compute = tensor.compute.mutable_data_ptr();
  segment.compute_is_bf16 = tensor.parameter.defined();
  segment.gradient = tensor.gradient.mutable_data_ptr<float>();
  if (tensor.own.defined()) segment.own = tensor.own.mutable_data_ptr<float>();
  if (tensor.own_gradient.defined()) segment.own_gradient = tensor.own_gradient.mutable_data_ptr<float>();
  segment.numel = tensor.master.numel();
  segment.group_size = host_->layout(t).group_size;
  segment.groups = (segment.numel + segment.group_size - 1) / segment.group_size;
  segment.first_group = rows.groups;
  rows.chunk_groups = std::max(rows.chunk_groups, groups_of_chunk(segment));
  segment.first_chunk = place(rows.chunks);
  append_chunks(static_cast<int32_t>(t), segment.numel, rows.chunks);
  segment.chunk_count = place(rows.chunks) - segment.first_chunk;
  segment.group_shift =
      has_fast_path(segment.group_size) ? std::countr_zero(static_cast<uint64_t>(segment.group_size)) : -1;
  segment.first_piece = place(rows.pieces);
  if (method_.method == Method::diffq && segment.group_shift < 0) {
    std::vector<Piece> pieces;
    cut_pieces(t, segment.numel, segment.group_size, pieces);
    for (const Piece& piece : pieces) {
      rows.pieces.push_back(
          {static_cast<int32_t>(t), static_cast<int32_t>(piece.end - piece.begin), piece.begin});
    }
  }
  segment.piece_count = place(rows.pieces) - segment.first_piece;
  segment.first_sum = static_cast<int32_t>(rows.sums);
  segment.sum_count = segment.piece_count > 0 ? segment.piece_count : segment.chunk_count;
  rows.sums += segment.sum_count;
  rows.groups += segment.groups;
  rows.segments.push_back(segment);
}

void DeviceQuantizer::initialize_own() {
  for (size_t t = 0; t < quantized_.size(); ++t) copies_[t].master.copy_(quantized_[t].master);
  host_->initialize_own();
  for (size_t t = 0; t < quantized_.size(); ++t) {
    if (copies_[t].own.defined()) quantized_[t].own.copy_(copies_[t].own);
  }
}

/// Where a tensor is materialized now.
at::Tensor DeviceQuantizer::seen(size_t tensor) const {
  const QuantizedTensor& of = quantized_[tensor];
  return table_.full_precision && of.parameter.defined() ? of.gradient : of.compute;
}

/// Evaluation is of the very weights that are packed.
void DeviceQuantizer::see(bool full_precision) {
  if (table_.full_precision == full_precision) return;
  table_.full_precision = full_precision;
  for (size_t t = 0; t < quantized_.size(); ++t) {
    if (quantized_[t].parameter.defined()) point(quantized_[t].parameter, seen(t));
  }
}

void DeviceQuantizer::begin_step(StepScalars scalars) {
  const bool known = scalars.step == sent_.step && scalars.lambda == sent_.lambda;
  kernels_.begin_step(table_, known ? nullptr : &scalars, stream());
  sent_ = scalars;
}

void DeviceQuantizer::set_step(NoiseKey key, double lambda) {
  if (method_.method == Method::diffq && !quantized_.empty()) begin_step({key.step, lambda});
}

void DeviceQuantizer::find_extremes() {
  begin_step({key_.step, sent_.lambda});
  kernels_.find_extremes(table_, stream());
}

/// QAT's and LSQ's weights are rounded ones in training too.
void DeviceQuantizer::round_to_fixed_bits() {
  if (method_.method == Method::lsq) {
    kernels_.round_to_scale(table_, levels_, stream());
  } else {
    find_extremes();
    kernels_.round(table_, nullptr, method_.bits, stream());
  }
}

void DeviceQuantizer::materialize(NoiseKey key) {
  key_ = key;
  see(/*full_precision=*/false);
  if (copies_kept()) {
    for (KeptTensor& tensor : kept_) tensor.compute.copy_(tensor.master);
  }
  switch (method_.method) {
    case Method::diffq:
      if (frozen_) {
        round_to_widths();
        break;
      }
      find_extremes();
      if (clips()) kernels_.clip_ends(table_, map_, nullptr, stream());
      kernels_.add_noise(table_, law(), stream());
      break;
    case Method::qat:
    case Method::lsq:
      round_to_fixed_bits();
      break;
    case Method::ptq:
      kernels_.copy(table_, stream());
      break;
    case Method::fp32:
      break;
  }
  at::autocast::clear_cache();
}

void DeviceQuantizer::materialize_rounded() {
  see(/*full_precision=*/true);
  if (copies_kept()) {
    for (KeptTensor& tensor : kept_) tensor.compute.copy_(tensor.master.to(at::kHalf));
  }
  switch (method_.method) {
    case Method::diffq:
      if (clips()) {
        round_on_host();
      } else {
        take_widths();
        round_to_widths();
      }
      break;
    case Method::qat:
    case Method::lsq:
      round_to_fixed_bits();
      break;
    case Method::ptq:
      round_on_host();
      break;
    case Method::fp32:
      break;
  }
  at::autocast::clear_cache();
}

/// Which bits a group has is the CPU path's word alone: those that are evaluated are those that are packed.
void DeviceQuantizer::take_widths() {
  std::vector<uint8_t> widths;
  for (const TensorBits& tensor : bits()) widths.insert(widths.end(), tensor.bits.begin(), tensor.bits.end());
  if (!widths.empty()) widths_.copy_(upload(widths, widths_.device()));
}

void DeviceQuantizer::round_to_widths() {
  if (quantized_.empty()) return;
  const auto* widths = widths_.const_data_ptr<uint8_t>();
  find_extremes();
  if (clips()) kernels_.clip_ends(table_, map_, widths, stream());
  kernels_.round(table_, widths, 0, stream());
}

void DeviceQuantizer::freeze() {
  if (method_.method != Method::diffq) return Quantizer::freeze();
  if (!frozen_) take_widths();
  frozen_ = true;
}

/// Where the ends are searched for: those of an evaluation must be those that are packed, to the last bit.
void DeviceQuantizer::round_on_host() {
  for (size_t t = 0; t < quantized_.size(); ++t) copies_[t].master.copy_(quantized_[t].master);
  copy_own();
  host_->materialize_rounded();
  for (size_t t = 0; t < quantized_.size(); ++t) seen(t).copy_(copies_[t].compute);
}

void DeviceQuantizer::pull_back(std::span<const size_t> tensors) {
  if (method_.method != Method::diffq && method_.method != Method::lsq) return;
  // The tensors of a bucket lie side by side: one launch.
  for (size_t i = 0; i < tensors.size();) {
    size_t end = i + 1;
    while (end < tensors.size() && tensors[end] == tensors[end - 1] + 1) ++end;
    pull_back_range(tensors[i], tensors[end - 1] + 1);
    i = end;
  }
}

void DeviceQuantizer::pull_back_range(size_t first, size_t last) {
  const Segment &from = segments_.at(first), &to = segments_.at(last - 1);
  const SegmentRange range{
      static_cast<int32_t>(first),     static_cast<int32_t>(last), from.first_chunk,
      to.first_chunk + to.chunk_count, from.first_piece,           to.first_piece + to.piece_count};
  if (method_.method == Method::lsq) {
    kernels_.pull_back_scale(table_, levels_, range, stream());
  } else if (frozen_) {
    for (size_t t = first; t < last; ++t) quantized_[t].own_gradient.zero_();
    if (clips()) kernels_.mask_clipped(table_, range, stream());
  } else {
    kernels_.pull_back(table_, law(), range, stream());
  }
}

void DeviceQuantizer::add_size_gradient(double lambda) {
  if (method_.method != Method::diffq) return;
  if (lambda != sent_.lambda) begin_step({sent_.step, lambda});
  kernels_.add_size_gradient(table_, map_, stream());
}

void DeviceQuantizer::constrain_own() {
  if (method_.method == Method::lsq) kernels_.limit_scales(table_, kLeastScale, stream());
}

void DeviceQuantizer::copy_own() const {
  for (size_t t = 0; t < quantized_.size(); ++t) {
    if (copies_[t].own.defined()) copies_[t].own.copy_(quantized_[t].own);
  }
}

double DeviceQuantizer::expected_size_mb() const {
  copy_own();
  return host_->expected_size_mb();
}

double DeviceQuantizer::size_mb() const {
  copy_own();
  return host_->size_mb();
}

void DeviceQuantizer::fit_size(double target_mb) {
  copy_own();
  host_->fit_size(target_mb);
  for (size_t t = 0; t < quantized_.size(); ++t) {
    if (copies_[t].own.defined()) quantized_[t].own.copy_(copies_[t].own);
  }
}

std::vector<TensorBits> DeviceQuantizer::bits() const {
  copy_own();
  return host_->bits();
}

std::vector<uint8_t> DeviceQuantizer::pack(size_t tensor, Coding coding) const {
  copies_.at(tensor).master.copy_(quantized_.at(tensor).master);
  if (copies_[tensor].own.defined()) copies_[tensor].own.copy_(quantized_[tensor].own);
  return host_->pack(tensor, coding);
}

}  // namespace diffq
