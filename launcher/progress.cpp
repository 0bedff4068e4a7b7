#include "launcher/progress.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace diffq {
namespace {

constexpr auto kTerminalPause = std::chrono::milliseconds(500);
constexpr auto kFilePause = std::chrono::seconds(1);
constexpr const char* kFileName = "progress.json";

std::string number(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

}  // namespace

std::string text_of(const RunProgress& at) {
  return "epoch " + std::to_string(at.epoch) + "/" + std::to_string(at.epochs) + " step " +
         std::to_string(at.step) + "/" + std::to_string(at.steps) + " loss " + number(at.loss, "%.4g");
}

Progress::Progress(const SweepState& state, int groups, bool quiet)
    : state_(state),
      path_(state.folder() / kFileName),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      time_left_(state.sweep(), groups),
      shown_(Clock::now()) {
  for (size_t run = 0; run < state.size(); ++run) time_left_.earlier(run, state.train_seconds(run));
}

Progress::~Progress() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void Progress::print(const std::string& line) {
  if (quiet_) return;
  std::fprintf(stderr, "%s%s\n", terminal_ ? "\r\033[K" : "", line.c_str());
}

std::string Progress::counts() const {
  const size_t failed = state_.count(RunState::failed);
  std::string text =
      "[" + std::to_string(state_.count(RunState::done)) + "/" + std::to_string(state_.size()) + " done";
  if (failed > 0) text += ", " + std::to_string(failed) + " failed";
  return text + "]";
}

/// Nothing once the sweep stops: runs that are to go on later count as whole ones.
TimeEstimate Progress::time_left() const {
  return stopping_ ? TimeEstimate{} : time_left_.estimate(state_.waiting(), Clock::now());
}

void Progress::started(int group, size_t run) { time_left_.started(group, run, Clock::now()); }

void Progress::step(int group, size_t run, const RunProgress& progress) {
  active_[group] = {run, progress};
  time_left_.step(group, progress, Clock::now());
  changed_ = true;
}

void Progress::done(int group, size_t run, const RunRow& row) {
  active_.erase(group);
  time_left_.done(group, Clock::now());
  print(counts() + " " + row.run_id + " " + run_title(state_.run(run)) + ": " + number(row.metric, "%.2f") +
        " " + row.metric_name + ", " + number(row.size_mb, "%.4g") + " MB, " +
        number(row.train_seconds, "%.0f") + " s");
}

void Progress::failed(int group, size_t run, const std::string& reason) {
  active_.erase(group);
  time_left_.dropped(group);
  print(counts() + " " + state_.run(run).run_id + " " + run_title(state_.run(run)) + ": failed: " + reason);
}

void Progress::stopped(int group, size_t run) {
  active_.erase(group);
  time_left_.dropped(group);
  print(counts() + " " + state_.run(run).run_id + " " + run_title(state_.run(run)) +
        ": stopped, to go on later");
}

void Progress::stopping(const std::string& reason) {
  const std::string left = text_of(time_left());
  print(reason + ": stopping; every run writes a checkpoint first" +
        (left.empty() ? "" : "; of the sweep, " + left));
  stopping_ = true;
}

void Progress::refresh() {
  const auto now = Clock::now();
  if (!quiet_ && changed_ && now - shown_ >= (terminal_ ? Clock::duration(kTerminalPause) : kPlainPause)) {
    shown_ = now;
    changed_ = false;
    show_line();
  }
  if (now - written_ >= kFilePause) {
    written_ = now;
    write_file();
  }
}

void Progress::show_line() {
  std::string line = counts();
  if (const std::string left = text_of(time_left()); !left.empty()) line.insert(line.size() - 1, ", " + left);
  size_t shown = 0;
  for (const auto& [group, active] : active_) {
    if (++shown > 2) {  // a line is not the place for hundreds of groups
      line += " | … " + std::to_string(active_.size() - 2) + " more";
      break;
    }
    line += (shown > 1 ? " | " : " ") + run_title(state_.run(active.run)) + ": " + text_of(active.progress);
  }
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  } else {
    print(line);
  }
}

/// Not synced to disk: it tells of a sweep at work, and is of no use to a later one. Nor does the sweep fail
/// where it can't be written.
void Progress::write_file() {
  const TimeEstimate left = time_left();
  nlohmann::json running = nlohmann::json::object();
  for (const auto& [group, active] : active_) {
    const RunProgress& at = active.progress;
    running[state_.run(active.run).run_id] = {{"epoch", at.epoch},
                                              {"epochs", at.epochs},
                                              {"step", at.step},
                                              {"steps", at.steps},
                                              {"loss", at.loss}};
  }
  const nlohmann::json content{{"time", utc_now()},
                               {"seconds_left", left.seconds},
                               {"unknown_runs", left.unknown_runs},
                               {"running", running}};
  const auto temporary =
      path_.parent_path() / ("." + path_.filename().string() + ".tmp" + std::to_string(::getpid()));
  std::ofstream file(temporary, std::ios::binary);
  file << content.dump() << "\n";
  file.close();
  std::error_code ignored;
  if (file) {
    std::filesystem::rename(temporary, path_, ignored);
  } else {
    std::filesystem::remove(temporary, ignored);
  }
}

ProgressFile read_progress(const std::filesystem::path& folder) try {
  std::ifstream file(folder / kFileName, std::ios::binary);
  const nlohmann::json content = nlohmann::json::parse(file);
  ProgressFile progress{content.at("time"), {content.at("seconds_left"), content.at("unknown_runs")}, {}};
  for (const auto& [run_id, at] : content.at("running").items()) {
    progress.running[run_id] = {at.at("epoch"), at.at("epochs"), at.at("step"), at.at("steps"),
                                at.at("loss").is_null() ? kNotApplicable : at.at("loss").get<double>()};
  }
  return progress;
} catch (const std::exception&) {
  return {};
}

}  // namespace diffq
