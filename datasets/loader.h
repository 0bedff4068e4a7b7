#pragma once
// Prefetches batches on worker threads and hands them out in order. An error while reading a batch is thrown
// by the next() that would have returned it.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "datasets/dataset.h"

namespace diffq {

class Loader {
 public:
  /// `batches[i]`: the samples of the i-th batch that next() returns. `data` must outlive the loader. At most
  /// `prefetch` batches are held ready. workers >= 1.
  Loader(const Dataset& data, std::vector<std::vector<int64_t>> batches, std::optional<AugmentKey> augment,
         int workers, int prefetch = 4);
  ~Loader();  ///< stops the workers at their next batch
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t size() const;
  /// The next batch, or nothing when all were handed out.
  std::optional<Batch> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The batches of rank `rank` in training epoch `epoch`: `accumulate` micro-batches a step, in order of
/// steps, from step `first_step` on. batch_size is the whole group's and is divisible by size * accumulate.
/// With `repeats` the order is repeated_order's.
std::vector<std::vector<int64_t>> training_batches(int64_t count, int64_t batch_size, int64_t accumulate,
                                                   uint64_t seed, int64_t epoch, int rank, int size,
                                                   int64_t first_step = 0, int64_t repeats = 1);
/// The batches of this rank that together with the other ranks' see each sample exactly once.
std::vector<std::vector<int64_t>> evaluation_batches(int64_t count, int64_t batch_size, int rank, int size);

}  // namespace diffq
