#pragma once
// The results of several output folders as one: shards of a sweep, or sweeps to be compared.

#include <vector>

#include "results/tables.h"

namespace diffq {

/// All runs once, each with its epochs and layers out of the file that knows most of it (done, then failed,
/// then pending; of equals the first). Rows without metric_fp32 get the metric of the finished fp32 run of
/// the same data, model and seed: with --shard it may be in another file. Names of the sweeps are joined by
/// ", "; a sweep file that shards share is there once.
ResultFile joined(std::vector<ResultFile> files);

}  // namespace diffq
