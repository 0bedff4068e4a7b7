#include "quant/diffq.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "quant/grid.h"
#include "quant/ordered_sum.h"

namespace diffq {
namespace {

constexpr int64_t kScratch = kPieceEntries + kGroupPadding;

/// Weights (4 MB) that all threads together have gone over and still find in a cache.
constexpr int64_t kCachedEntries = 1 << 20;

struct Groups {
  int64_t first = 0;  ///< index in the tensor
  int64_t count = 0;
};

Groups groups_of(const Piece& piece, int64_t group_size) {
  const int64_t first = piece.begin / group_size;
  return {first, (piece.end - 1) / group_size + 1 - first};
}

/// For group sizes without a fast path: the noise of a piece in `scratch`, or where it was given.
const float* piece_noise(const KernelTable& kernels, const NoiseSource& source, const Piece& piece,
                         float* scratch) {
  if (source.given) return source.given + piece.begin;
  const int64_t ahead = piece.begin % kNoiseBlock;
  kernels.draw(source, piece.begin / kNoiseBlock, ahead + piece.end - piece.begin, scratch);
  return scratch + ahead;
}

int64_t count_equal(const float* entries, int64_t n, float value) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += entries[i] == value;
  return count;
}

/// Entries [i, end) of a tensor to the levels of their groups; a group without bits is 0.
void round_groups(const std::vector<int>& bits, int64_t group_size, Extremes ends, const float* master,
                  int64_t i, int64_t end, float* compute) {
  Grid grid{ends.min, ends.max};
  while (i < end) {
    const int64_t group = i / group_size, stop = std::min((group + 1) * group_size, end);
    const int width = bits[static_cast<size_t>(group)];
    grid.top = Grid::top_of(width);
    if (width == 0) std::fill(compute + i, compute + stop, 0.0f);
    for (; i < stop && width > 0; ++i) {
      const float point = master[i] == master[i] ? grid.low : master[i];  // NaN should be seen
      compute[i] = grid.is_point() ? point : grid.round(master[i]);
    }
    i = stop;
  }
}

/// Entries of every group of a tensor: all the same but the last.
int64_t entries_of_group(int64_t group, int64_t group_size, int64_t numel) {
  return std::min(group_size, numel - group * group_size);
}

}  // namespace

DiffQ::DiffQ(const MethodSpec& method, QuantSpec quant, CodePath path)
    : BaseQuantizer(std::move(quant), path),
      method_(method),
      map_(make_group_map(method.parametrisation, method.min_bits, method.max_bits)) {
  noise_factor_ = noise_factor(method.noise);
  if (method.group_size < 0)
    throw std::invalid_argument("diffq: group_size is negative; 0 is one group a tensor");
  if (method.min_bits == 0 && (method.parametrisation == Parametrisation::noise || method.group_size < 1 ||
                               method.group_size > kLongestVanishingGroup)) {
    throw std::invalid_argument("diffq: min_bits 0 is for parametrisation bits and groups of 1 to " +
                                std::to_string(kLongestVanishingGroup));
  }
  if (!(method.min_bits >= 0 && method.min_bits < method.init_bits && method.init_bits < method.max_bits &&
        method.max_bits <= 15)) {
    throw std::invalid_argument("diffq: bits must be 0 <= min_bits < init_bits < max_bits <= 15");
  }
}

int64_t DiffQ::group_entries(int64_t numel) const {
  const int64_t whole = std::max<int64_t>(numel, 1);
  return method_.group_size == 0 ? whole : std::min(method_.group_size, whole);
}

int64_t DiffQ::own_count(int64_t numel) const {
  const int64_t group = group_entries(numel);
  return (numel + group - 1) / group;
}

void DiffQ::use_given_noise(std::vector<at::Tensor> noise) { given_noise_ = std::move(noise); }

NoiseSource DiffQ::noise_source(size_t tensor) const {
  const float* given = given_noise_.empty() ? nullptr : given_noise_.at(tensor).const_data_ptr<float>();
  const NoiseKind kind = method_.noise == NoiseKind::uniform ? NoiseKind::uniform : NoiseKind::gaussian;
  return {kind, key_.seed, key_.step, static_cast<uint32_t>(tensor), given};
}

void DiffQ::materialize_tensors(NoiseKey key) {
  if (frozen_) return materialize_tensors_rounded();
  key_ = key;
  for (size_t first = 0, last = 0; first < quantized_.size(); first = last) {
    // As many tensors at a time as stay in the caches between the two passes over them.
    int64_t entries = quantized_[last++].master.numel();
    while (last < quantized_.size() && entries + quantized_[last].master.numel() <= kCachedEntries)
      entries += quantized_[last++].master.numel();
    find_extremes(first, last);
    set_ends(first, last, /*whole_bits=*/false);
    const size_t piece = spans_[first].first;
    for_each_piece(spans_[last - 1].last - piece, [&](size_t i) { materialize_piece(pieces_[piece + i]); });
  }
}

void DiffQ::materialize_piece(const Piece& piece) {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const int64_t n = piece.end - piece.begin, group_size = group_entries(tensor.master.numel());
  const float* master = tensor.master.const_data_ptr<float>() + piece.begin;
  float* compute = tensor.compute.data_ptr<float>() + piece.begin;
  const float range = noise_range(piece.tensor);
  if (!(range > 0) && !vanishes()) {
    std::copy(master, master + n, compute);
    return;
  }
  const bool by_channel = channels(piece.tensor) > 1;
  if (by_channel) {
    std::fill(compute, compute + n, 0.0f);
    master = compute;
  } else if (clips()) {
    clamp(piece);
    master = compute;
  }
  const Groups groups = groups_of(piece, group_size);
  float steps[kScratch];
  kernels_.group_scales(map_, tensor.own.const_data_ptr<float>() + groups.first, groups.count, steps,
                        nullptr);
  std::vector<float> keeps;
  if (vanishes()) keeps = take_keeps({steps, static_cast<size_t>(groups.count)});
  for (int64_t k = 0; k < groups.count; ++k) steps[k] *= range;

  const NoiseSource source = noise_source(piece.tensor);
  if (has_fast_path(group_size)) {
    kernels_.add_noise(source, group_size, piece.begin, n, steps, master, compute);
  } else {
    float scratch[kScratch];
    const float* noise = piece_noise(kernels_, source, piece, scratch);
    for (int64_t k = 0, i = 0; k < groups.count; ++k) {
      for (const int64_t end = std::min(i + group_size, n); i < end; ++i)
        compute[i] = master[i] + steps[k] * noise[i];
    }
  }
  if (by_channel) widen(piece);
  if (vanishes()) shrink(piece, keeps);
}

void DiffQ::pull_back(std::span<const size_t> tensors) {
  std::vector<size_t> work;
  for (const size_t t : tensors) {
    for (size_t i = spans_.at(t).first; i < spans_[t].last; ++i) work.push_back(i);
  }
  piece_sums_.resize(pieces_.size());
  for_each_piece(work.size(), [&](size_t k) {
    piece_sums_[work[k]] = pull_back_piece(pieces_[work[k]]);
    if (clips()) mask_clipped(pieces_[work[k]]);
  });
  for_each_piece(tensors.size(), [&](size_t k) {
    const size_t t = tensors[k];
    if (frozen_) {
      if (vanishes()) mask_vanished(t);
      return;
    }
    finish_split_groups(t);
    if (!clips() && channels(t) == 1) add_range_gradient(t);
  });
}

double DiffQ::pull_back_piece(const Piece& piece) {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const int64_t n = piece.end - piece.begin, group_size = group_entries(tensor.master.numel());
  const Groups groups = groups_of(piece, group_size);
  float* own_gradient = tensor.own_gradient.data_ptr<float>() + groups.first;
  const float range = noise_range(piece.tensor);
  if ((!(range > 0) && !vanishes()) || frozen_) {
    std::fill(own_gradient, own_gradient + groups.count, 0.0f);
    return 0;
  }
  const float* gradient = tensor.gradient.const_data_ptr<float>() + piece.begin;
  std::vector<float> in_ranges;
  if (channels(piece.tensor) > 1) {
    in_ranges.resize(static_cast<size_t>(n));
    for_channels(piece, [&](Extremes ends, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) in_ranges[static_cast<size_t>(i)] = gradient[i] * ends.range();
    });
    gradient = in_ranges.data();
  }
  const NoiseSource source = noise_source(piece.tensor);
  if (group_size > kPieceEntries) {
    float scratch[kScratch];
    return ordered_dot(gradient, piece_noise(kernels_, source, piece, scratch), n);
  }
  float scales[kScratch], slopes[kScratch], dots[kScratch];
  kernels_.group_scales(map_, tensor.own.const_data_ptr<float>() + groups.first, groups.count, scales,
                        slopes);
  if (has_fast_path(group_size)) {
    kernels_.group_dots(source, group_size, piece.begin, n, gradient, dots);
  } else {
    float scratch[kScratch];
    const float* noise = piece_noise(kernels_, source, piece, scratch);
    for (int64_t k = 0; k < groups.count; ++k) {
      const int64_t begin = k * group_size;
      dots[k] =
          static_cast<float>(ordered_dot(gradient + begin, noise + begin, std::min(group_size, n - begin)));
    }
  }
  std::vector<float> keeps;
  if (vanishes()) keeps = take_keeps({scales, static_cast<size_t>(groups.count)});
  for (int64_t k = 0; k < groups.count; ++k) own_gradient[k] = range * dots[k] * slopes[k];
  if (vanishes()) {
    pull_back_vanishing(piece, keeps, dots);
    for (int64_t k = 0; k < groups.count; ++k) scales[k] *= keeps[static_cast<size_t>(k)];
  }
  return ordered_dot(dots, scales, groups.count);
}

/// Groups longer than a piece: adds up their pieces, then leaves Σ dot * scale in the tensor's first piece
/// sum.
void DiffQ::finish_split_groups(size_t t) {
  const QuantizedTensor& tensor = quantized_[t];
  const int64_t group_size = group_entries(tensor.master.numel());
  const float range = noise_range(t);
  if (group_size <= kPieceEntries || !(range > 0)) return;
  double range_gradient = 0;
  size_t i = spans_[t].first;
  for (int64_t group = 0; group < tensor.own.numel(); ++group) {
    double sum = 0;
    for (; i < spans_[t].last && pieces_[i].begin / group_size == group; ++i) {
      sum += piece_sums_[i];
      piece_sums_[i] = 0;
    }
    float scales[16 + kGroupPadding], slopes[16 + kGroupPadding];
    kernels_.group_scales(map_, tensor.own.const_data_ptr<float>() + group, 1, scales, slopes);
    tensor.own_gradient.data_ptr<float>()[group] =
        static_cast<float>(double{range} * sum * double{slopes[0]});
    range_gradient += sum * double{scales[0]};
  }
  piece_sums_[spans_[t].first] = range_gradient;
}

/// The range is max - min of the weights: its gradient goes to the largest (+) and smallest (-) entries, in
/// equal parts.
void DiffQ::add_range_gradient(size_t t) {
  const Extremes all = extremes_[t];
  if (!(all.range() > 0)) return;
  double range_gradient = 0;
  int64_t smallest = 0, largest = 0;
  const float* master = quantized_[t].master.const_data_ptr<float>();
  float* gradient = quantized_[t].gradient.data_ptr<float>();
  const auto for_extreme_pieces = [&](const auto& work) {
    for (size_t i = spans_[t].first; i < spans_[t].last; ++i) {
      if (piece_extremes_[i].min == all.min || piece_extremes_[i].max == all.max) work(pieces_[i]);
    }
  };
  for (size_t i = spans_[t].first; i < spans_[t].last; ++i) range_gradient += piece_sums_[i];
  range_gradient *= double{noise_factor_};
  for_extreme_pieces([&](const Piece& piece) {
    smallest += count_equal(master + piece.begin, piece.end - piece.begin, all.min);
    largest += count_equal(master + piece.begin, piece.end - piece.begin, all.max);
  });
  const auto up = static_cast<float>(range_gradient / static_cast<double>(largest));
  const auto down = static_cast<float>(range_gradient / static_cast<double>(smallest));
  for_extreme_pieces([&](const Piece& piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      if (master[i] == all.max) gradient[i] += up;
      if (master[i] == all.min) gradient[i] -= down;
    }
  });
}

void DiffQ::add_size_gradient(double lambda) {
  for_each_piece(pieces_.size(), [&](size_t i) {
    const Piece& piece = pieces_[i];
    const QuantizedTensor& tensor = quantized_[piece.tensor];
    const int64_t numel = tensor.master.numel(), group_size = group_entries(numel);
    if (piece.begin % group_size != 0) return;  // a further piece of a long group
    const Groups groups = groups_of(piece, group_size);
    const float* logits = tensor.own.const_data_ptr<float>();
    float* own_gradient = tensor.own_gradient.data_ptr<float>();
    const auto add = [&](int64_t first, int64_t count) {
      const auto entries = static_cast<double>(entries_of_group(first, group_size, numel));
      kernels_.add_bits_slopes(map_, logits + first, count, static_cast<float>(lambda * entries / kBitsPerMb),
                               own_gradient + first);
    };
    // All groups of a piece are of one length, but the tensor's last one may be shorter.
    const bool has_last = groups.first + groups.count == tensor.own.numel();
    add(groups.first, groups.count - has_last);
    if (has_last) add(groups.first + groups.count - 1, 1);
  });
}

/// What is stored beside the levels: range (of channels in float16), the width β of an entry of the table of
/// bits, and that table.
double DiffQ::side_bits(size_t t, double max_bits) const {
  const double widths = 1 + round_half_even(static_cast<float>(max_bits)) - method_.min_bits;
  const double beta = widths > 1 ? std::ceil(std::log2(widths)) : vanishes() ? 1 : 0;
  const auto parts = static_cast<double>(channels(t));
  return (parts > 1 ? 32 * parts : 64) + 8 + beta * static_cast<double>(quantized_[t].own.numel());
}

double DiffQ::stored_bits(size_t t) const {
  const std::vector<int> bits = group_bits(t);
  const int64_t numel = quantized_[t].master.numel(), group_size = group_entries(numel);
  double sum = 0;
  for (size_t k = 0; k < bits.size(); ++k) {
    sum += static_cast<double>(bits[k]) *
           static_cast<double>(entries_of_group(static_cast<int64_t>(k), group_size, numel));
  }
  return sum + side_bits(t, bits.empty() ? 0 : *std::max_element(bits.begin(), bits.end()));
}

double DiffQ::expected_size_mb() const {
  double sum = kept_bits();
  for (size_t t = 0; t < quantized_.size(); ++t) {
    const at::Tensor bits = real_bits(t);
    const float* values = bits.const_data_ptr<float>();
    const int64_t numel = quantized_[t].master.numel(), group_size = group_entries(numel);
    float most = 0;
    for (int64_t k = 0; k < bits.numel(); ++k) {
      sum += double{values[k]} * static_cast<double>(entries_of_group(k, group_size, numel));
      most = std::max(most, values[k]);
    }
    sum += side_bits(t, most);
  }
  return sum / kBitsPerMb;
}

void DiffQ::materialize_tensors_rounded() {
  find_extremes();
  set_ends(0, quantized_.size(), /*whole_bits=*/true);
  for (size_t t = 0; t < quantized_.size(); ++t) {
    const QuantizedTensor& tensor = quantized_[t];
    const std::vector<int> bits = group_bits(t);
    const int64_t group_size = group_entries(tensor.master.numel());
    const float* master = tensor.master.const_data_ptr<float>();
    float* compute = tensor.compute.data_ptr<float>();
    for_each_piece(spans_[t].last - spans_[t].first, [&](size_t p) {
      const Piece& piece = pieces_[spans_[t].first + p];
      for_channels(piece, [&](Extremes ends, int64_t begin, int64_t end) {
        round_groups(bits, group_size, ends, master, piece.begin + begin, piece.begin + end, compute);
      });
    });
  }
}

}  // namespace diffq
