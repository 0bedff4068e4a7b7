#pragma once
// A sweep file, understood: JSON (with // comments) -> validated specifications -> runs in an order in which
// each comes after what it starts from. Everything the user wrote is checked here, before anything is made.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/run_spec.h"

namespace diffq {

struct Run {
  std::string run_id;  ///< 12 hex digits; identifies the run's whole specification
  RunSpec spec;
  std::string origin;      ///< where the user wrote it: "benchmarks[0].methods[2]"
  int depends_on = -1;     ///< index of the fp32 run that it starts from, or -1
  nlohmann::json config;   ///< the canonical specification, every default written out
  std::string front = {};  ///< the same for all runs of one front (sweeps/front.h), "" for others
};

/// The entry that a run comes from: "benchmarks[0]" of "benchmarks[0].methods[2]".
inline std::string benchmark_of(const Run& run) { return run.origin.substr(0, run.origin.find(".methods")); }

struct Sweep {
  std::string name;
  int ranks_per_run = 1;
  std::vector<Run> runs;
  nlohmann::json resolved;  ///< the sweep with every default written out; reads back to the same runs
};

/// Content of a data set and of a file of weights, for run ids; injected so that sweeps/ need not read them.
struct Fingerprints {
  std::function<std::string(const DataSpec&)> data;
  std::function<std::string(const std::string& path)> weights;
};

/// Whether a run starts from a safetensors file.
bool starts_from_file(const RunSpec& spec);

/// `text`: the sweep file; `source`: its name, for messages; `overrides`: "benchmarks.0.train.epochs=1" …
/// Throws std::invalid_argument "SOURCE: benchmarks[0].train.epochs: what is wrong; what would be right".
Sweep read_sweep(const std::string& text, const std::string& source,
                 const std::vector<std::string>& overrides, const Fingerprints& fingerprints);

/// The specification in a packed model file. `source` names the file in messages. Throws
/// std::invalid_argument.
RunSpec read_model_config(const std::string& config, const std::string& source);

/// The runs that --only ("method=lsq,seed=1"; commas mean and) keeps. What a kept run starts from is kept
/// too. Throws std::invalid_argument for an unknown field or when nothing is left.
std::vector<size_t> select_runs(const Sweep& sweep, const std::string& only);

/// The part i of N that --shard "i/N" (i from 0) keeps: runs with what they start from, in turn. Throws
/// std::invalid_argument.
std::vector<size_t> select_shard(const Sweep& sweep, const std::string& shard);

/// The sweep with these of its runs alone, in ascending order and with what they start from.
Sweep part_of(Sweep sweep, const std::vector<size_t>& runs);
/// That of select_shard; all of the sweep for "".
Sweep shard_of(Sweep sweep, const std::string& shard);

/// First 12 hex digits of the hash over a canonical specification (XXH3, 128 bits, of its compact dump with
/// sorted keys).
std::string run_id_of(const nlohmann::json& canonical);

}  // namespace diffq
