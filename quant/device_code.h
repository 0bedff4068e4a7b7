#pragma once
// Words that let one text be compiled for processors (g++) and for GPUs (nvcc).

#ifdef __CUDACC__
#define DIFFQ_INLINE __device__ __forceinline__
#define DIFFQ_BOTH __host__ __device__
// GPU code may not refer to a host's arrays, not even to constant ones.
#define DIFFQ_CONSTANT static __device__ constexpr
#define DIFFQ_UNROLL _Pragma("unroll")
#else
// The loops are only as fast as they are whole: left to itself the compiler makes calls of their parts.
#define DIFFQ_INLINE __attribute__((always_inline)) inline
#define DIFFQ_BOTH
#define DIFFQ_CONSTANT inline constexpr
#define DIFFQ_UNROLL _Pragma("GCC unroll 10")
#endif
