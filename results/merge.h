#pragma once
// The results of several output folders as one: shards of a sweep, or sweeps to be compared.

#include <vector>

#include "results/tables.h"

namespace diffq {

/// All runs once, each with its epochs and layers out of the file that knows most of it (done, then failed,
/// then pending; of equals the first). Names of the sweeps joined by ", "; a sweep file that shards share is
/// there once.
ResultFile merged(std::vector<ResultFile> files);

}  // namespace diffq
