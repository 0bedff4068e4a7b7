#pragma once
// From benchmarks as read to runs: order, what starts from what, canonical specifications and run ids.

#include "sweeps/json_reader.h"
#include "sweeps/sweep.h"

namespace diffq {

/// One combination of one entry of "methods".
struct MethodEntry {
  RunSpec spec;  ///< its seed is not set
  Place place;
  bool of_front = false;
};

struct Benchmark {
  Place place;
  RunSpec base;  ///< what the entries have in common; method and seed are not set
  std::vector<MethodEntry> methods;
  std::vector<uint64_t> seeds;
};

/// Per benchmark and seed: the fp32 runs, what starts from them, the rest; each in the order written. Throws
/// when a run has no fp32 run to start from, or several, and when two runs are the same.
std::vector<Run> make_runs(const std::vector<Benchmark>& benchmarks, int ranks_per_run,
                           const Fingerprints& fingerprints);

/// The sweep file that says the same with every default written out and every axis expanded.
nlohmann::json resolve(const Sweep& sweep, const std::vector<Benchmark>& benchmarks);

}  // namespace diffq
