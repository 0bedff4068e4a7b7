#include "datasets/buffer_pool.h"

#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>

#include <utility>

namespace diffq {

at::Tensor BufferPool::tensor(at::IntArrayRef sizes) {
  const auto buffer = std::make_shared<Buffer>(take(c10::multiply_integers(sizes)));
  return at::from_blob(
      buffer->data.get(), sizes,
      [pool = shared_from_this(), buffer](void*) { pool->give_back(std::move(*buffer)); }, at::kFloat);
}

BufferPool::Buffer BufferPool::take(int64_t count) {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      Buffer buffer = std::move(free_.back());
      free_.pop_back();
      if (buffer.count >= count) return buffer;
    }
  }
  return {std::make_unique_for_overwrite<float[]>(count), count};
}

void BufferPool::give_back(Buffer buffer) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
}

}  // namespace diffq
