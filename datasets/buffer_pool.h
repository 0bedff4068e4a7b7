#pragma once
// Memory of batches, used again once their tensors are gone: large fresh memory is mapped page by page, and
// unmapping it stops all threads of the process.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace diffq {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  /// float32, not initialised. It may outlive the pool's other owners. Thread-safe.
  at::Tensor tensor(at::IntArrayRef sizes);

 private:
  struct Buffer {
    std::unique_ptr<float[]> data;
    int64_t count = 0;
  };
  Buffer take(int64_t count);
  void give_back(Buffer buffer);

  std::mutex mutex_;
  std::vector<Buffer> free_;
};

}  // namespace diffq
