#pragma once
// What `diffq plan` prints of a sweep.

#include <cstdint>
#include <string>
#include <vector>

#include "sweeps/sweep.h"

namespace diffq {

/// What only the caller knows of a run. MB are 2^20 bytes; NaN and "" leave the cell empty.
struct PlanColumns {
  int64_t parameters;   ///< of the model
  double size_fp32_mb;  ///< of the model's weights
  double memory_mb;     ///< a rank's, estimated
  std::string state;    ///< "done", "to run", …
};

/// A table with a line a run, aligned, and a summary line. `columns`: one entry a run, or empty.
std::string plan_text(const Sweep& sweep, const std::vector<PlanColumns>& columns = {});

}  // namespace diffq
