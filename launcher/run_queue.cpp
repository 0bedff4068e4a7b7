#include "launcher/run_queue.h"

#include <algorithm>

namespace diffq {

RunQueue::RunQueue(const Sweep& sweep, std::vector<RunState> states, const std::vector<size_t>& selected)
    : sweep_(sweep), states_(std::move(states)), selected_(states_.size(), false) {
  for (RunState& state : states_) {
    if (state == RunState::running) state = RunState::pending;
  }
  for (const size_t run : selected) selected_[run] = true;
}

bool RunQueue::ready(size_t run) const {
  const int start = sweep_.runs[run].depends_on;
  return selected_[run] && states_[run] == RunState::pending &&
         (start < 0 || states_[static_cast<size_t>(start)] == RunState::done);
}

std::optional<size_t> RunQueue::next() {
  if (stopped_) return std::nullopt;
  for (size_t run = 0; run < states_.size(); ++run) {
    if (!ready(run)) continue;
    states_[run] = RunState::running;
    return run;
  }
  return std::nullopt;
}

bool RunQueue::exhausted() const {
  if (stopped_) return true;
  for (size_t run = 0; run < states_.size(); ++run) {
    if (!selected_[run] || states_[run] != RunState::pending) continue;
    if (ready(run)) return false;
    const auto start = static_cast<size_t>(sweep_.runs[run].depends_on);
    if (states_[start] == RunState::running) return false;
  }
  return true;
}

void RunQueue::finish(size_t run) { states_[run] = RunState::done; }

std::vector<std::pair<size_t, std::string>> RunQueue::fail(size_t run, const std::string& reason) {
  states_[run] = RunState::failed;
  auto failed = fail_waiting();
  failed.insert(failed.begin(), {run, reason});
  return failed;
}

std::vector<std::pair<size_t, std::string>> RunQueue::fail_waiting() {
  std::vector<std::pair<size_t, std::string>> failed;
  // Runs come after what they start from: one pass reaches all.
  for (size_t later = 0; later < states_.size(); ++later) {
    const int start = sweep_.runs[later].depends_on;
    if (start < 0 || states_[static_cast<size_t>(start)] != RunState::failed ||
        states_[later] != RunState::pending)
      continue;
    states_[later] = RunState::failed;
    failed.emplace_back(
        later, "starts from run " + sweep_.runs[static_cast<size_t>(start)].run_id + ", which failed");
  }
  return failed;
}

size_t RunQueue::unfinished() const {
  size_t count = 0;
  for (size_t run = 0; run < states_.size(); ++run)
    count += selected_[run] && (states_[run] == RunState::pending || states_[run] == RunState::running);
  return count;
}

size_t RunQueue::count(RunState state) const {
  return static_cast<size_t>(std::count(states_.begin(), states_.end(), state));
}

}  // namespace diffq
