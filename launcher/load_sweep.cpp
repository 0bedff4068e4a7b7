#include "launcher/load_sweep.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>

#include "datasets/fingerprint.h"
#include "launcher/sweep_warnings.h"
#include "results/durable_file.h"
#include "trainer/footprint.h"
#include "trainer/model_file.h"
#include "trainer/task.h"

namespace diffq {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw std::invalid_argument(path +
                                ": can't be read: " + (file ? "it is a folder" : std::strerror(errno)) +
                                "; give the path of a sweep file, such as sweeps/demo.json");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

DataSummary check_data_of(const std::string& path, const Run& run) {
  try {
    return check_data(run.spec.data);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(path + ": " + benchmark_of(run) + ": " + error.what());
  }
}

void check_run(const std::string& path, const Run& run, const DataSummary& summary) {
  const std::string where = path + ": " + benchmark_of(run) + ": ";
  if (run.spec.train.epochs > 0 && summary.train < run.spec.train.batch_size) {
    throw std::invalid_argument(where + "train.batch_size: " + std::to_string(run.spec.train.batch_size) +
                                " is more than the " + std::to_string(summary.train) +
                                " training samples; choose a smaller one");
  }
}

void check_target(const std::string& path, const Run& run, const RunFootprint& size) {
  const double target = run.spec.method.target_mb;
  if (target >= size.least_size_mb && target <= size.start_size_mb) return;
  char text[200];
  std::snprintf(text, sizeof(text),
                "must be from %.6g, the least size (all at min_bits), to %.6g, the size at the start (all at "
                "init_bits), not %.6g",
                size.least_size_mb, size.start_size_mb, target);
  throw std::invalid_argument(path + ": " + run.origin + ".target_mb: " + text);
}

// Weights of the user's own must be those of the model.
void check_start(const std::string& path, const Run& run, const DataShape& shape) {
  const std::string& start = run.spec.method.start;
  std::string what;
  try {
    const PackedModel file = PackedModel::read(start);
    what = differences(file, make_task(run.spec, shape)->module());
    if (!what.empty()) what = start + ": is of another model: " + what + "; give weights of this one";
  } catch (const std::invalid_argument& error) {
    what = error.what();
  }
  if (!what.empty()) throw std::invalid_argument(path + ": " + run.origin + ".start: " + what);
}

std::string weights_fingerprint(const std::string& path, const std::string& start) {
  try {
    return fingerprint_files({&start, 1});
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(path + ": start: " + error.what());
  }
}

}  // namespace

LoadedSweep load_sweep(const std::string& path, const std::vector<std::string>& overrides) {
  LoadedSweep loaded;
  const std::string text = read_text(path);
  nlohmann::json fingerprints = nlohmann::json::array();
  const auto noted = [&](std::string found) {
    fingerprints.push_back(found);
    return found;
  };
  loaded.sweep =
      read_sweep(text, path, overrides,
                 {[&](const DataSpec& data) { return noted(fingerprint(data)); },
                  [&](const std::string& start) { return noted(weights_fingerprint(path, start)); }});
  std::map<std::string, DataSummary> summaries;
  std::map<std::string, std::vector<TensorName>> models;
  std::set<std::string> starts;
  std::map<std::string, RunFootprint> sizes;  // of the runs with targets
  for (const Run& run : loaded.sweep.runs) {
    const std::string data_key = run.config.at("data").dump() + run.spec.data.root;
    const auto found = summaries.find(data_key);
    const DataSummary summary = found != summaries.end() ? found->second : check_data_of(path, run);
    summaries.emplace(data_key, summary);
    check_run(path, run, summary);
    const std::string model_key = data_key + run.config.at("model").dump();
    if (!models.contains(model_key)) {
      try {
        // Builds the model: it must take this data.
        models[model_key] = footprint(run.spec, summary.shape).tensors;
      } catch (const std::invalid_argument& error) {
        throw std::invalid_argument(path + ": " + run.origin + ": " + error.what());
      }
    }
    if (run.spec.method.target_mb > 0) {
      nlohmann::json method = run.config.at("method");
      method.erase("target_mb");
      const auto [size, is_new] =
          sizes.try_emplace(model_key + method.dump() + run.config.at("quant").dump());
      if (is_new) size->second = footprint(run.spec, summary.shape);
      check_target(path, run, size->second);
    }
    if (starts_from_file(run.spec) && starts.insert(model_key + run.spec.method.start).second)
      check_start(path, run, summary.shape);
    for (const std::string& warning : warnings_of(run, summary, models.at(model_key))) {
      if (const std::string placed = path + ": " + warning;
          std::ranges::find(loaded.warnings, placed) == loaded.warnings.end())
        loaded.warnings.push_back(placed);
    }
    loaded.data.push_back(summary);
  }
  const nlohmann::json message = {
      {"text", text}, {"source", path}, {"overrides", overrides}, {"fingerprints", fingerprints}};
  loaded.text = message.dump();
  return loaded;
}

void tell(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) std::fprintf(stderr, "diffq: warning: %s\n", warning.c_str());
}

Sweep read_broadcast_sweep(const std::string& text) {
  const auto message = nlohmann::json::parse(text);
  // They are asked for in the same order as on the rank that read the files.
  size_t next = 0;
  const auto noted = [&] { return message.at("fingerprints").at(next++).get<std::string>(); };
  return read_sweep(message.at("text"), message.at("source"), message.at("overrides"),
                    {[&](const DataSpec&) { return noted(); }, [&](const std::string&) { return noted(); }});
}

LoadedSweep part_of(LoadedSweep loaded, const std::vector<size_t>& runs) {
  std::vector<DataSummary> data;
  for (const size_t run : runs) data.push_back(std::move(loaded.data[run]));
  loaded.data = std::move(data);
  loaded.sweep = part_of(std::move(loaded.sweep), runs);
  return loaded;
}

namespace {

void refuse_foreign_files(const std::filesystem::path& folder) {
  std::error_code unreadable;  // the lock tells of it
  if (std::filesystem::exists(folder / "journal.jsonl", unreadable)) return;
  for (const char* name :
       {"runs", "results.h5", "results.csv", "report.md", "report.html", "progress.json"}) {
    if (std::filesystem::exists(folder / name, unreadable))
      throw std::invalid_argument(folder.string() + ": is not of a sweep, and holds " + name +
                                  ", which a sweep would overwrite; give another --out");
  }
}

}  // namespace

void check_folder(const std::filesystem::path& folder, const Sweep& sweep) {
  const auto path = folder / "sweep.json";
  std::ifstream file(path);
  if (!file) return refuse_foreign_files(folder);
  const auto there = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool named = there.is_object() && there.contains("sweep") && there["sweep"].is_string();
  const std::string name = named ? there["sweep"].get<std::string>() : "";
  if (name == sweep.name) return;
  throw std::invalid_argument(
      folder.string() + ": holds " +
      (name.empty() ? "a sweep.json that can't be read" : "the sweep \"" + name + "\"") + ", not \"" +
      sweep.name + "\"; give another --out");
}

void prepare_folder(const std::filesystem::path& folder, const Sweep& sweep) {
  check_folder(folder, sweep);
  try {
    std::filesystem::create_directories(folder);
    remove_temporaries(folder);
    replace_file(folder / "sweep.json", sweep.resolved.dump(2) + "\n");  // first: it makes the folder ours
    std::filesystem::create_directories(folder / "runs");
  } catch (const std::exception& error) {
    throw std::invalid_argument(folder.string() + ": can't be written: " + error.what() +
                                "; give another --out");
  }
}

}  // namespace diffq
