#pragma once
// The kernels of device_kernels.h, from their bodies. Included once by each of the files that launch them.

#include "quant/device_clip_bodies.h"
#include "quant/device_group_bodies.h"
#include "quant/device_noise_bodies.h"
#include "quant/device_rounding_bodies.h"

namespace diffq {
namespace {

int64_t blocks_of(int64_t items, int64_t a_block = kBlockThreads) { return (items + a_block - 1) / a_block; }

void mask_clipped(const ModelTable& table, const SegmentRange& range, Stream stream) {
  launch(MaskClipped{table, range.first_chunk}, range.last_chunk - range.first_chunk, stream);
}

void pull_back(const ModelTable& table, const NoiseLaw& law, const SegmentRange& range, Stream stream) {
  launch(PullBack{table, law, range.first_chunk}, range.last_chunk - range.first_chunk, stream);
  if (range.last_piece > range.first_piece) {
    launch(PullBackAnyGroups{table, law, range.first_piece}, range.last_piece - range.first_piece, stream);
    launch(FinishCutGroups{table, law, range.first_segment}, range.last_segment - range.first_segment,
           stream);
  }
  if (law.clips) return mask_clipped(table, range, stream);
  launch(FinishRange{table, law.factor, range.first_segment}, range.last_segment - range.first_segment,
         stream);
}

void pull_back_scale(const ModelTable& table, const ScaleLevels& levels, const SegmentRange& range,
                     Stream stream) {
  launch(PullBackScale{table, levels, range.first_chunk}, range.last_chunk - range.first_chunk, stream);
  launch(FinishScale{table, levels, range.first_segment}, range.last_segment - range.first_segment, stream);
}

const DeviceKernels kDeviceKernels{
    [](const ModelTable& table, const StepScalars* scalars, Stream stream) {
      launch(BeginStep{table, scalars != nullptr, scalars ? *scalars : StepScalars{}},
             blocks_of(table.segment_count), stream);
    },
    [](const ModelTable& table, Stream stream) { launch(FindExtremes{table}, table.chunk_count, stream); },
    [](const ModelTable& table, const GroupMap& map, const uint8_t* widths, Stream stream) {
      launch(ClipEnds{table, map, widths}, table.segment_count, stream);
    },
    mask_clipped,
    [](const ModelTable& table, const NoiseLaw& law, Stream stream) {
      constexpr int kFew = kChunkEntries / 4;  // groups of 4 and more
      if (table.chunk_groups <= kFew) {
        launch(AddNoise<kFew>{table, law}, table.chunk_count, stream);
      } else {
        launch(AddNoise<kChunkEntries>{table, law}, table.chunk_count, stream);
      }
    },
    pull_back,
    [](const ModelTable& table, const GroupMap& map, Stream stream) {
      launch(AddSizeGradient{table, map}, table.chunk_count, stream);
    },
    [](const ModelTable& table, const uint8_t* widths, int bits, Stream stream) {
      launch(Round{table, widths, bits}, table.chunk_count, stream);
    },
    [](const ModelTable& table, Stream stream) { launch(Copy{table}, table.chunk_count, stream); },
    [](const ModelTable& table, const ScaleLevels& levels, Stream stream) {
      launch(RoundToScale{table, levels}, table.chunk_count, stream);
    },
    pull_back_scale,
    [](const ModelTable& table, float least, Stream stream) {
      launch(LimitScales{table, least}, blocks_of(table.segment_count), stream);
    },
};

}  // namespace
}  // namespace diffq
