#pragma once
// Results of several folders put together.

#include <vector>

#include "results/records.h"

namespace diffq {

/// Gives rows without metric_fp32 the metric of the finished fp32 run of the same data, model and seed: with
/// --shard it may be in another folder's results.
void fill_fp32_metrics(std::vector<RunRow>& rows);

}  // namespace diffq
