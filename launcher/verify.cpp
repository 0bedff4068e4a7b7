#include "launcher/verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "launcher/journal.h"
#include "launcher/run_history.h"
#include "results/tables.h"
#include "sweeps/sweep.h"
#include "trainer/checkpoint.h"
#include "trainer/model_file.h"
#include "trainer/run_measures.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

struct Model {
  int64_t file_bytes = 0;
  std::vector<TensorBits> bits;  ///< of the packed tensors
  std::string run_id;            ///< empty where the file does not say
};

/// Reads all of a model, its levels too.
Model read_model(const fs::path& path) {
  const PackedModel file = PackedModel::read(path);
  Model model;
  model.file_bytes = file.file_bytes();
  const auto config = nlohmann::json::parse(file.config(), nullptr, /*allow_exceptions=*/false);
  if (config.is_object() && config.contains("run_id") && config["run_id"].is_string())
    model.run_id = config["run_id"].get<std::string>();
  std::vector<float> values;
  for (const ModelTensor& tensor : file.tensors()) {
    if (!PackedModel::has_values(tensor)) continue;
    try {
      values.resize(static_cast<size_t>(tensor.numel));
      file.unpack(tensor, values.data());
      if (tensor.packed) model.bits.push_back(bits_of(file, tensor));
    } catch (const DamagedFile& error) {
      throw DamagedFile(path.string() + ": " + error.what());
    }
  }
  return model;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

[[noreturn]] void disagree(const fs::path& path, const std::string& what) {
  throw std::invalid_argument(path.string() + ": " + what);
}

void check_model(const fs::path& path, const ResultFile& result) {
  const Model model = read_model(path);
  if (model.run_id != result.runs[0].run_id)
    disagree(path, "is the model of run \"" + model.run_id + "\", not of " + result.runs[0].run_id);
  const double mb = static_cast<double>(model.file_bytes) / (1 << 20);
  if (!same(mb, result.runs[0].packed_file_mb)) disagree(path, "is not of the size that result.h5 has");
  const std::vector<LayerRow> rows = layer_rows("", model.bits);
  if (rows.size() != result.layers.size()) disagree(path, "has other quantised tensors than result.h5");
  for (const LayerRow& row : result.layers) {
    const auto found = std::ranges::find(rows, row.layer, &LayerRow::layer);
    if (found == rows.end() || !std::ranges::equal(found->bits, row.bits))
      disagree(path, row.layer + " has other bits than in result.h5");
  }
}

/// Of one run that the journal has as done. Returns its row.
RunRow check_run(const fs::path& folder, const std::string& run_id) {
  const ResultFile result = read_results(folder / "result.h5");
  if (result.runs.size() != 1 || result.runs[0].run_id != run_id || result.runs[0].status != "done")
    disagree(folder / "result.h5", "is not of the finished run " + run_id);
  std::ifstream file(folder / "spec.json");
  const auto spec = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (spec.is_discarded() || run_id_of(spec) != run_id)
    disagree(folder / "spec.json", "is not the specification of run " + run_id);
  if (!std::isnan(result.runs[0].packed_file_mb)) check_model(folder / "model.safetensors", result);
  return result.runs[0];
}

/// The first file that has not the size and sum that the journal has of it, and what it lacks; or "".
std::string difference(const fs::path& folder, const std::map<std::string, FileSum>& files) {
  for (const auto& [name, expected] : files) {
    const std::string path = (folder / name).string();
    if (!fs::exists(path)) return path + ": is missing";
    if (fs::file_size(path) != static_cast<uint64_t>(expected.bytes) || sum_file(path) != expected)
      return path + ": has not the content that the journal has the sum of";
  }
  return "";
}

/// What a finished run has reached.
struct Numbers {
  double metric = kNotApplicable, size_mb = kNotApplicable;
};

class FolderCheck {
 public:
  FolderCheck(fs::path folder, bool deep) : folder_(std::move(folder)), deep_(deep) {}

  int run() {
    std::map<std::string, RunHistory> histories;
    attempt([&] { histories = read_histories(read_journal(folder_ / "journal.jsonl")); });
    std::map<std::string, Numbers> done;
    size_t checkpoints = 0;
    for (const auto& [run_id, history] : histories) {
      const fs::path run_folder = folder_ / "runs" / run_id;
      if (history.ended && (*history.ended)["event"] == "run_done")
        attempt([&] { done[run_id] = check_done(run_folder, run_id, history); });
      for (const CheckpointFile& file : list_checkpoints(run_folder)) {
        attempt([&] { check_checkpoint(file.path, run_id); });
        ++checkpoints;
      }
    }
    const bool has_results = fs::exists(folder_ / "results.h5");
    if (has_results) attempt([&] { check_results(done); });
    if (!first_problem_.empty()) {
      throw std::invalid_argument(folder_.string() + ": problems: " + std::to_string(problems_) +
                                  ", the first: " + first_problem_ +
                                  "; remove damaged files, of a finished run its whole folder, and start "
                                  "the sweep again: it makes them anew");
    }
    std::printf("%s: journal%s, %zu finished runs and %zu checkpoints are whole and agree\n", folder_.c_str(),
                has_results ? ", results.h5" : "", done.size(), checkpoints);
    if (!has_results) std::printf("there is no results.h5; `diffq run` on the same folder writes it\n");
    return 0;
  }

 private:
  template <class Work>
  void attempt(const Work& work) {
    try {
      work();
    } catch (const std::exception& error) {
      std::printf("problem: %s\n", error.what());
      if (problems_++ == 0) first_problem_ = error.what();
    }
  }

  Numbers check_done(const fs::path& run_folder, const std::string& run_id, const RunHistory& history) const {
    const auto files = history.files();
    const std::string differs = difference(run_folder, files);
    if (deep_ || files.empty() || !differs.empty()) {
      const RunRow row = check_run(run_folder, run_id);  // which may know better what is wrong
      if (!differs.empty()) throw std::invalid_argument(differs);
      return {row.metric, row.size_mb};
    }
    const auto number = [&](const char* key) {
      const auto found = history.ended->find(key);
      return found != history.ended->end() && found->is_number() ? found->get<double>() : kNotApplicable;
    };
    return {number("metric"), number("size_mb")};
  }

  static void check_checkpoint(const fs::path& path, const std::string& run_id) {
    const SafetensorsFile file = read_checkpoint(path);
    const auto found = file.metadata.find("run_id");
    if (found == file.metadata.end() || found->second != run_id) disagree(path, "is not of run " + run_id);
  }

  void check_results(const std::map<std::string, Numbers>& done) const {
    const fs::path path = folder_ / "results.h5";
    for (const RunRow& row : read_results(path).runs) {
      const auto own = done.find(row.run_id);
      if (row.status != "done" || own == done.end()) continue;
      if (!same(row.metric, own->second.metric) || !same(row.size_mb, own->second.size_mb))
        disagree(path, "has other numbers for run " + row.run_id + " than its own result.h5");
    }
  }

  fs::path folder_;
  bool deep_;
  int problems_ = 0;
  std::string first_problem_;
};

}  // namespace

int verify_command(const std::string& path, bool deep) {
  if (fs::is_directory(path)) {
    if (!fs::exists(fs::path(path) / "journal.jsonl"))
      throw std::invalid_argument(path +
                                  ": holds no journal.jsonl; give the --out folder of a sweep, or a file");
    return FolderCheck(path, deep).run();
  }
  if (fs::path(path).extension() == ".h5") {
    try {
      read_results(path);
    } catch (const std::runtime_error& error) {
      throw std::invalid_argument(error.what());
    }
  } else {
    read_model(path);
  }
  std::printf("%s: is whole\n", path.c_str());
  return 0;
}

}  // namespace diffq
