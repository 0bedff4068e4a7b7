#pragma once
// Tables for kernels in the memory of a device, and the stream that kernels go to.

#include <ATen/core/Tensor.h>

#include <vector>

#include "quant/device_kernels.h"

namespace diffq {

/// The stream that torch works on, on a GPU; null for the CPU.
Stream current_stream(at::Device device);

/// A copy of bytes in the memory of the device.
at::Tensor upload(const void* bytes, int64_t count, at::Device device);
template <class Row>
at::Tensor upload(const std::vector<Row>& rows, at::Device device) {
  return upload(rows.data(), static_cast<int64_t>(rows.size() * sizeof(Row)), device);
}

/// Cuts `numel` entries of a segment into chunks.
void append_chunks(int32_t segment, int64_t numel, std::vector<Stretch>& chunks);

}  // namespace diffq
