#pragma once
// Kernels as bodies: a body is what one block of threads does, written as a row of phases, each of which all
// threads end before the next begins. nvcc makes kernels of them; g++ makes loops, in which a test holds them
// against the CPU path where there is no GPU. A body's results depend on nothing but its arguments: no
// sum is made in an order that the hardware chooses.
//
//   struct Body {
//     struct Shared { … };                                      // memory of one block
//     static constexpr int kBlocksAtOnce = …;                   // so few registers; or none of that
//     template <class Block> DIFFQ_INLINE void operator()(const Block&, int64_t index, Shared&) const;
//   };

#include <string.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "quant/device_code.h"

#ifdef __CUDACC__
#include <stdexcept>
#include <string>
#include <type_traits>
#endif

struct CUstream_st;

namespace diffq {

/// A CUDA stream; null is the default one.
using Stream = CUstream_st*;

inline constexpr int kBlockThreads = 256;

namespace {

#ifdef __CUDACC__

struct Block {
  /// A phase: work(thread) for every thread of the block.
  template <class Work>
  __device__ __forceinline__ void threads(const Work& work) const {
    work(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
};

template <class Body, class = void>
struct BlocksAtOnce {
  static constexpr int value = 1;
};
template <class Body>
struct BlocksAtOnce<Body, std::void_t<decltype(Body::kBlocksAtOnce)>> {
  static constexpr int value = Body::kBlocksAtOnce;
};

template <class Body>
__global__ void __launch_bounds__(kBlockThreads, BlocksAtOnce<Body>::value) run_body(const Body body) {
  __shared__ typename Body::Shared shared;
  body(Block{}, static_cast<int64_t>(blockIdx.x), shared);
}

inline void check_cuda(cudaError_t code, const char* what) {
  if (code != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(code));
}

template <class Body>
void launch(const Body& body, int64_t blocks, Stream stream) {
  if (blocks == 0) return;
  run_body<<<static_cast<unsigned>(blocks), kBlockThreads, 0, stream>>>(body);
  check_cuda(cudaGetLastError(), "kernel");
}

DIFFQ_INLINE void atomic_min(uint32_t* at, uint32_t value) { atomicMin(at, value); }
DIFFQ_INLINE void atomic_max(uint32_t* at, uint32_t value) { atomicMax(at, value); }
/// Gives the value before.
DIFFQ_INLINE uint32_t atomic_add(uint32_t* at, uint32_t value) { return atomicAdd(at, value); }

#else

struct Block {
  template <class Work>
  void threads(const Work& work) const {
    for (int thread = 0; thread < kBlockThreads; ++thread) work(thread);
  }
};

template <class Body>
void launch(const Body& body, int64_t blocks, Stream) {
  const auto shared = std::make_unique<typename Body::Shared>();
  for (int64_t index = 0; index < blocks; ++index) body(Block{}, index, *shared);
}

inline void atomic_min(uint32_t* at, uint32_t value) { *at = value < *at ? value : *at; }
inline void atomic_max(uint32_t* at, uint32_t value) { *at = value > *at ? value : *at; }
inline uint32_t atomic_add(uint32_t* at, uint32_t value) {
  const uint32_t before = *at;
  *at += value;
  return before;
}

#endif

inline constexpr int kWarpThreads = 32;

/// For the first thread of a warp: the values of its threads, joined in a tree. All of a warp call it.
template <class Value, class Join>
DIFFQ_INLINE Value join_warp(const Value* values, int thread, const Join& join) {
#ifdef __CUDACC__
  Value joined = values[thread];
  DIFFQ_UNROLL
  for (int width = kWarpThreads / 2; width > 0; width /= 2) {
    uint32_t words[sizeof(Value) / sizeof(uint32_t)];
    memcpy(words, &joined, sizeof joined);
    DIFFQ_UNROLL
    for (uint32_t& word : words) word = __shfl_down_sync(0xffffffffu, word, width);
    Value other;
    memcpy(&other, words, sizeof other);
    joined = join(joined, other);
  }
  return joined;
#else
  if (thread % kWarpThreads != 0) return values[thread];
  Value joined[kWarpThreads];
  std::copy_n(values + thread, kWarpThreads, joined);
  for (int width = kWarpThreads / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) joined[lane] = join(joined[lane], joined[lane + width]);
  }
  return joined[0];
#endif
}

/// Joins the values of all threads of a block in a fixed tree; the result is in values[0].
template <class Value, class Join>
DIFFQ_INLINE void join_threads(const Block& block, Value* values, const Join& join) {
  block.threads([&](int thread) {
    const Value joined = join_warp(values, thread, join);
    if (thread % kWarpThreads == 0) values[thread] = joined;
  });
  block.threads([&](int thread) {
    if (thread != 0) return;
    Value joined = values[0];
    DIFFQ_UNROLL
    for (int warp = 1; warp < kBlockThreads / kWarpThreads; ++warp)
      joined = join(joined, values[warp * kWarpThreads]);
    values[0] = joined;
  });
}

struct Add {
  template <class Value>
  DIFFQ_INLINE Value operator()(Value a, Value b) const {
    return a + b;
  }
};

}  // namespace
}  // namespace diffq
