#pragma once
// The maps of quantizers as kernels over all tensors of a model at once, behind plain functions: on a GPU
// (device_kernels.cu) or, one thread after another, in tests (tests/support/emulated_kernels.cpp); one text
// for both (device_kernel_table.h). They give what the CPU path gives: noise, levels and the gradients of
// weights and bits bit for bit; sums in double differ in their order, which is fixed here as there.

#include <cstdint>

#include "quant/device_launch.h"
#include "quant/grid.h"
#include "quant/kernels.h"
#include "quant/philox.h"

namespace diffq {

/// One quantised tensor, in the memory of the device.
struct Segment {
  const float* master;
  void* compute;  ///< float, or bfloat16 where compute_is_bf16
  float* gradient;
  float* own;
  float* own_gradient;
  int64_t numel;
  int64_t group_size;  ///< entries a group, at least 1
  int64_t groups;
  int64_t first_group;  ///< of all groups of the model
  int32_t group_shift;  ///< log2 of group_size where has_fast_path, else -1
  int32_t first_chunk, chunk_count;
  int32_t first_piece, piece_count;  ///< none where has_fast_path
  int32_t first_sum, sum_count;      ///< partial sums of its range's gradient
  bool compute_is_bf16;
};

/// Entries of one segment that one block of threads works on.
struct Stretch {
  int32_t segment;
  int32_t count;
  int64_t begin;
};

/// A thread of a block draws one counter: eight entries.
inline constexpr int kPassEntries = 8 * kBlockThreads;
/// So that what a block needs to know of its segment serves several passes.
inline constexpr int kChunkEntries = 4 * kPassEntries;

/// What changes from step to step, in the memory of the device: a recorded step is repeated with other
/// values.
struct StepScalars {
  uint32_t step;  ///< whose noise is drawn
  double lambda;  ///< loss per MB
};

/// Entries of a segment that are its smallest (largest): how many, and where, as long as there is room. Their
/// order is the hardware's, and which are noted where there are more; what is made of them is the same.
struct EndEntries {
  static constexpr uint32_t kNoted = 32;
  int64_t noted[kNoted];
  uint32_t count;
};

struct ModelTable {
  const Segment* segments;
  int32_t segment_count;
  const Stretch* chunks;  ///< of kChunkEntries each, but the last of a segment
  int32_t chunk_count;
  int32_t chunk_groups;      ///< the most that a chunk has a part of
  const Stretch* pieces;     ///< as cut_pieces has them; only of segments without fast path
  uint32_t* extremes;        ///< smallest and largest entry of every segment, in the order of ordered_bits()
  uint32_t* chunk_extremes;  ///< the same of every chunk
  EndEntries* end_entries;   ///< of every segment: its smallest, and its largest
  double* sums;              ///< partial sums, one a chunk (pieces: one a piece)
  StepScalars* scalars;
  int64_t piece_entries;  ///< the most of a piece; longer groups are cut
  bool full_precision;    ///< what is written for a bfloat16 compute goes to gradient instead, as float
};

/// What the noise of a run is a function of, beside the step.
struct NoiseLaw {
  GroupMap map;
  NoiseKind kind;
  PhiloxKeys keys;
  float factor = 1;    ///< of the noise that is drawn
  bool clips = false;  ///< weights beyond the ends are clipped, and the ends have no gradient
};

/// Tensors [first, last) of a model.
struct SegmentRange {
  int32_t first_segment, last_segment;
  int32_t first_chunk, last_chunk;
  int32_t first_piece, last_piece;
};

struct DeviceKernels {
  /// No extremes and no end_entries; and the scalars, or null where they stay.
  void (*begin_step)(const ModelTable&, const StepScalars*, Stream);
  /// extremes, of all segments. Wants begin_step.
  void (*find_extremes)(const ModelTable&, Stream);
  /// The ends of least expected error (clip.h) in the place of the extremes; widths: one a group of the
  /// model, or null for the real bits. Wants extremes.
  void (*clip_ends)(const ModelTable&, const GroupMap&, const uint8_t* widths, Stream);
  /// Gradients of weights beyond the ends to 0.
  void (*mask_clipped)(const ModelTable&, const SegmentRange&, Stream);
  /// compute = master + range / (2^b - 1) * noise, and end_entries. Wants extremes; once after begin_step.
  void (*add_noise)(const ModelTable&, const NoiseLaw&, Stream);
  /// own_gradient, and the range's gradient added to the extreme entries. Wants extremes and end_entries.
  void (*pull_back)(const ModelTable&, const NoiseLaw&, const SegmentRange&, Stream);
  /// own_gradient += lambda * ∂size_mb / ∂own.
  void (*add_size_gradient)(const ModelTable&, const GroupMap&, Stream);
  /// compute = master rounded to the grid between the extremes; widths: one a group of the model, or null
  /// for `bits` everywhere. Wants extremes.
  void (*round)(const ModelTable&, const uint8_t* widths, int bits, Stream);
  /// compute = master.
  void (*copy)(const ModelTable&, Stream);
  /// LSQ: compute = scale * round(clamp(master / scale)), levels from lowest to highest.
  void (*round_to_scale)(const ModelTable&, const ScaleLevels&, Stream);
  /// LSQ: gradients of clipped entries to 0, and the scales' gradients.
  void (*pull_back_scale)(const ModelTable&, const ScaleLevels&, const SegmentRange&, Stream);
  /// LSQ: no scale under `least`.
  void (*limit_scales)(const ModelTable&, float least, Stream);
};

/// Throws std::runtime_error where this build has no CUDA.
const DeviceKernels& cuda_kernels();

}  // namespace diffq
