#pragma once
// What `diffq plan` prints of a sweep.

#include <cstdint>
#include <string>
#include <vector>

#include "sweeps/sweep.h"

namespace diffq {

/// What only the caller knows of a run. MB are 2^20 bytes; NaN and "" leave the cell empty.
struct PlanColumns {
  int64_t parameters;    ///< of the model
  double size_fp32_mb;   ///< of the model's weights
  double start_size_mb;  ///< of the packed weights, as training starts and where λ = 0 leaves the bits
  double least_size_mb;  ///< with the least bits
  double memory_mb;      ///< a rank's
  std::string state;     ///< "done", "to run", …
};

/// What tells the runs of a method from each other: "λ 0.1", "≤ 0.05 MB", "3 bits"; of fp32 nothing.
std::string strength(const MethodSpec& method);

/// A table with a line a run, aligned, and a summary line. `columns`: one entry a run, or empty.
std::string plan_text(const Sweep& sweep, const std::vector<PlanColumns>& columns = {});

}  // namespace diffq
