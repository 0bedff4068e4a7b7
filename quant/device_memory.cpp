#include "quant/device_memory.h"

#include <ATen/ops/empty.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstring>

namespace diffq {

Stream current_stream(at::Device device) {
  if (device.is_cpu()) return nullptr;
  const c10::Stream stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  return static_cast<Stream>(stream.native_handle());
}

at::Tensor upload(const void* bytes, int64_t count, at::Device device) {
  const at::Tensor host = at::empty({count}, at::kByte);
  if (count > 0) std::memcpy(host.mutable_data_ptr(), bytes, static_cast<size_t>(count));
  return host.to(device);
}

void append_chunks(int32_t segment, int64_t numel, std::vector<Stretch>& chunks) {
  for (int64_t begin = 0; begin < numel; begin += kChunkEntries)
    chunks.push_back({segment, static_cast<int32_t>(std::min<int64_t>(kChunkEntries, numel - begin)), begin});
}

}  // namespace diffq
