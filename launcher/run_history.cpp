#include "launcher/run_history.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace diffq {

std::map<std::string, FileSum> RunHistory::files() const {
  std::map<std::string, FileSum> files;
  if (!ended || !ended->contains("files")) return files;
  for (const auto& [name, file] : (*ended)["files"].items())
    files[name] = {file.value("bytes", int64_t{-1}), file.value("sum", "")};
  return files;
}

std::string RunHistory::quarantine(int64_t newest, int max_starts) const {
  const std::string remedy = "; --retry-failed starts it again";
  if (crashes >= kMostCrashes)
    return "quarantined: it ended " + std::to_string(crashes) + " starts, the last with: " + last_crash +
           remedy;
  if (newest == step && fruitless >= max_starts) {
    return "quarantined: " + std::to_string(fruitless) +
           " starts without a new checkpoint (a process killed for its memory leaves no other trace)" +
           remedy;
  }
  return "";
}

std::map<std::string, RunHistory> read_histories(const std::vector<nlohmann::json>& events) {
  std::map<std::string, RunHistory> histories;
  for (const auto& event : events) {
    const std::string kind = event.value("event", ""), id = event.value("run_id", "");
    if (id.empty()) continue;
    RunHistory& history = histories[id];
    if (kind == "run_done" || kind == "run_failed") {
      history = {};
      history.ended = event;
    } else if (kind == "run_started") {
      history.ended.reset();
      history.started = true;
      const int64_t step = event.value("step", int64_t{0});
      history.fruitless = step == history.step ? history.fruitless + 1 : 1;
      history.step = step;
    } else if (kind == "run_stopped") {
      history.started = false;
      history.fruitless = std::max(0, history.fruitless - 1);
    } else if (kind == "run_crashed") {
      ++history.crashes;
      history.last_crash = event.value("reason", "");
    }
  }
  return histories;
}

nlohmann::json sums_of_run(const std::filesystem::path& run_folder) {
  nlohmann::json files = nlohmann::json::object();
  for (const char* name : {"result.h5", "model.safetensors"}) {
    if (!std::filesystem::exists(run_folder / name)) continue;
    const FileSum file = sum_file(run_folder / name);
    files[name] = {{"bytes", file.bytes}, {"sum", file.sum}};
  }
  return files;
}

std::optional<std::string> read_crash(const std::filesystem::path& run_folder) {
  std::ifstream file(run_folder / "crash", std::ios::binary);
  if (!file) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(file), {}};
  text = text.substr(0, text.find('\n'));
  return text.empty() ? "it left an empty crash file" : text;
}

}  // namespace diffq
