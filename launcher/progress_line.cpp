#include "launcher/progress_line.h"

#include <unistd.h>

#include <cstdio>

namespace diffq {
namespace {

constexpr auto kTerminalPause = std::chrono::milliseconds(500);
constexpr auto kPlainPause = std::chrono::seconds(15);

std::string number(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

}  // namespace

ProgressLine::ProgressLine(const SweepState& state, bool quiet)
    : state_(state),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      shown_(std::chrono::steady_clock::now()) {}

void ProgressLine::print(const std::string& line) {
  if (quiet_) return;
  std::fprintf(stderr, "%s%s\n", terminal_ ? "\r\033[K" : "", line.c_str());
}

std::string ProgressLine::counts() const {
  const size_t failed = state_.count(RunState::failed);
  std::string text =
      "[" + std::to_string(state_.count(RunState::done)) + "/" + std::to_string(state_.size()) + " done";
  if (failed > 0) text += ", " + std::to_string(failed) + " failed";
  return text + "]";
}

void ProgressLine::step(int group, size_t run, const RunProgress& progress) {
  active_[group] = {run, progress};
  changed_ = true;
}

void ProgressLine::done(int group, size_t run, const RunRow& row) {
  active_.erase(group);
  print(counts() + " " + row.run_id + " " + run_title(state_.run(run)) + ": " + number(row.metric, "%.2f") +
        " " + row.metric_name + ", " + number(row.size_mb, "%.4g") + " MB, " +
        number(row.train_seconds, "%.0f") + " s");
}

void ProgressLine::failed(int group, size_t run, const std::string& reason) {
  active_.erase(group);
  print(counts() + " " + state_.run(run).run_id + " " + run_title(state_.run(run)) + ": failed: " + reason);
}

void ProgressLine::stopped(int group, size_t run) {
  active_.erase(group);
  print(counts() + " " + state_.run(run).run_id + " " + run_title(state_.run(run)) +
        ": stopped, to go on later");
}

void ProgressLine::note(const std::string& text) { print(text); }

void ProgressLine::refresh() {
  const auto now = std::chrono::steady_clock::now();
  if (quiet_ || !changed_ || (terminal_ ? now - shown_ < kTerminalPause : now - shown_ < kPlainPause)) return;
  shown_ = now;
  changed_ = false;
  std::string line = counts();
  size_t shown = 0;
  for (const auto& [group, active] : active_) {
    if (++shown > 2) {  // a line is not the place for hundreds of groups
      line += " | … " + std::to_string(active_.size() - 2) + " more";
      break;
    }
    const RunProgress& at = active.progress;
    line += (shown > 1 ? " | " : " ") + run_title(state_.run(active.run)) + ": epoch " +
            std::to_string(at.epoch) + "/" + std::to_string(at.epochs) + " step " + std::to_string(at.step) +
            "/" + std::to_string(at.steps) + " loss " + number(at.loss, "%.4g");
  }
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  } else {
    print(line);
  }
}

}  // namespace diffq
