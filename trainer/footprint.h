#pragma once
// What a run will take, before it starts: sizes of its model, and the memory of a step, found by taking a
// few.

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace diffq {

struct TensorName {
  std::string name;
  int64_t numel = 0;
};

/// MB are 2^20 bytes.
struct RunFootprint {
  int64_t parameters = 0;
  double size_fp32_mb = 0;
  double start_size_mb = 0;  ///< true size as training starts: where λ = 0 leaves the bits but for the loss
  double least_size_mb = 0;  ///< true size with all bits at their least
  std::vector<TensorName> tensors;
};
/// Throws std::invalid_argument if the model can't take the data.
RunFootprint footprint(const RunSpec& spec, const DataShape& shape);

/// Trains and evaluates for a few steps, as one rank of `ranks` and with this share of its batch sizes (at
/// least 2 samples, where it has them), and returns the peak memory in MB (memory.h). Leaves nothing
/// behind. Throws RunFailure. Of music with_track also separates and scores a whole track of the test set,
/// which takes long; its memory is the same for all shares.
double dry_run(const RunSpec& spec, const DataSplits& data, int ranks, double share, bool with_track);

}  // namespace diffq
