#include "sweeps/runs.h"

#include <xxhash.h>

#include <algorithm>
#include <map>

#include "sweeps/axes.h"
#include "sweeps/spec_keys.h"

namespace diffq {
namespace {

bool starts_from_fp32(const RunSpec& spec) { return spec.method.start == "fp32"; }

// The fp32 entry that `entry` starts from.
const MethodEntry* find_start(const Benchmark& benchmark, const MethodEntry& entry) {
  const MethodEntry* found = nullptr;
  for (const auto& candidate : benchmark.methods) {
    if (candidate.spec.method.method != Method::fp32) continue;
    if (found)
      entry.place.fail("starts from the fp32 run, but " + benchmark.place.path +
                       " has several; give each a benchmark of its own");
    found = &candidate;
  }
  if (!found)
    entry.place.fail("starts from the fp32 run, but " + benchmark.place.path +
                     " has none; add {\"method\": \"fp32\"} to its methods");
  return found;
}

std::vector<const MethodEntry*> in_order(const Benchmark& benchmark) {
  const auto rank = [](const MethodEntry* entry) {
    return entry->spec.method.method == Method::fp32 ? 0 : starts_from_fp32(entry->spec) ? 1 : 2;
  };
  std::vector<const MethodEntry*> entries;
  for (const auto& entry : benchmark.methods) entries.push_back(&entry);
  std::stable_sort(entries.begin(), entries.end(), [&](auto* a, auto* b) { return rank(a) < rank(b); });
  return entries;
}

// All that the runs of a front have in common.
std::string front_of(const Run& run) {
  nlohmann::json method = run.config.at("method");
  method.erase("target_mb");
  return benchmark_of(run) + " seed " + std::to_string(run.spec.seed) + " " + method.dump();
}

nlohmann::json canonical(const RunSpec& spec, int ranks_per_run) {
  nlohmann::json data = write_spec(spec.data);
  data.erase("root");
  data.erase("workers");
  data.erase("max_corrupt");
  nlohmann::json method = write_spec(spec.method);
  if (starts_from_file(spec)) method["start"] = "file";  // what counts is what is in it
  nlohmann::json config{{"data", data},
                        {"model", write_spec(spec.model)},
                        {"eval", write_spec(spec.eval)},
                        {"quant", write_spec(spec.quant)},
                        {"method", method},
                        {"seed", spec.seed},
                        {"ranks_per_run", ranks_per_run}};
  if (spec.method.method != Method::ptq) {
    config["train"] = write_spec(spec.train);
    for (const char* key : {"checkpoint_minutes", "rank_check_steps", "cuda_graph"})
      config["train"].erase(key);
  }
  return config;
}

// Everything but the data's fingerprint, so that what the user wrote is refused before any data is read.
std::vector<Run> list_runs(const std::vector<Benchmark>& benchmarks, int ranks_per_run) {
  std::vector<Run> runs;
  for (const auto& benchmark : benchmarks) {
    if (benchmark.methods.size() * benchmark.seeds.size() + runs.size() > kMostRuns)
      benchmark.place.fail("makes the sweep larger than " + std::to_string(kMostRuns) +
                           " runs; split the file");
    for (const uint64_t seed : benchmark.seeds) {
      std::map<const MethodEntry*, int> index;
      for (const MethodEntry* entry : in_order(benchmark)) {
        Run run{
            .run_id = "", .spec = entry->spec, .origin = entry->place.path, .depends_on = -1, .config = {}};
        run.spec.seed = seed;
        if (starts_from_fp32(run.spec)) run.depends_on = index.at(find_start(benchmark, *entry));
        run.config = canonical(run.spec, ranks_per_run);
        if (entry->of_front) run.front = front_of(run);
        index[entry] = int(runs.size());
        runs.push_back(std::move(run));
      }
    }
  }
  return runs;
}

}  // namespace

bool starts_from_file(const RunSpec& spec) { return !spec.method.start.empty() && !starts_from_fp32(spec); }

std::vector<Run> make_runs(const std::vector<Benchmark>& benchmarks, int ranks_per_run,
                           const Fingerprints& fingerprints) {
  std::vector<Run> runs = list_runs(benchmarks, ranks_per_run);
  std::map<std::string, std::string> data_sets;  // by specification
  std::map<std::string, std::string> weights;    // by path
  std::map<std::string, const Run*> seen;        // by run id
  for (Run& run : runs) {
    const std::string data = write_spec(run.spec.data).dump();
    if (!data_sets.contains(data)) data_sets[data] = fingerprints.data(run.spec.data);
    run.config["data_fingerprint"] = data_sets[data];
    if (run.depends_on >= 0) run.config["start"] = runs[size_t(run.depends_on)].run_id;
    if (starts_from_file(run.spec)) {
      const std::string& path = run.spec.method.start;
      if (!weights.contains(path)) weights[path] = fingerprints.weights(path);
      run.config["start"] = weights[path];
    }
    run.run_id = run_id_of(run.config);
    const auto [first, is_new] = seen.emplace(run.run_id, &run);
    if (!is_new)
      Place{benchmarks[0].place.source, run.origin}.fail(
          "is the same run as one of " + first->second->origin + ", seed " + std::to_string(run.spec.seed) +
          "; remove one of the two");
  }
  return runs;
}

nlohmann::json resolve(const Sweep& sweep, const std::vector<Benchmark>& benchmarks) {
  nlohmann::json resolved{{"sweep", sweep.name}, {"ranks_per_run", sweep.ranks_per_run}};
  for (const auto& benchmark : benchmarks) {
    nlohmann::json methods = nlohmann::json::array();
    const nlohmann::json train = write_spec(benchmark.base.train);
    for (const auto& entry : benchmark.methods) {
      nlohmann::json method = write_spec(entry.spec.method);
      const nlohmann::json own_train = write_spec(entry.spec.train);
      if (entry.spec.method.method != Method::ptq && own_train != train) method["train"] = own_train;
      methods.push_back(std::move(method));
    }
    resolved["benchmarks"].push_back({{"seeds", benchmark.seeds},
                                      {"data", write_spec(benchmark.base.data)},
                                      {"model", write_spec(benchmark.base.model)},
                                      {"train", train},
                                      {"eval", write_spec(benchmark.base.eval)},
                                      {"quant", write_spec(benchmark.base.quant)},
                                      {"methods", methods}});
  }
  return resolved;
}

std::string run_id_of(const nlohmann::json& canonical) {
  const std::string text = canonical.dump();
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  std::string digits;
  for (size_t i = 0; i < 6; ++i) {
    digits += "0123456789abcdef"[bytes.digest[i] >> 4];
    digits += "0123456789abcdef"[bytes.digest[i] & 15];
  }
  return digits;
}

}  // namespace diffq
