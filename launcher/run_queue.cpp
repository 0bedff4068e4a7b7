#include "launcher/run_queue.h"

#include <algorithm>

namespace diffq {

RunQueue::RunQueue(const Sweep& sweep, std::vector<RunState> states, const std::vector<size_t>& selected,
                   std::vector<double> sizes_mb)
    : sweep_(sweep),
      states_(std::move(states)),
      selected_(states_.size(), false),
      sizes_mb_(std::move(sizes_mb)) {
  sizes_mb_.resize(states_.size(), kNotApplicable);
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
    gap_.reset();
    const size_t chosen = sweep_.runs[run].front.empty() ? run : choose(sweep_.runs[run].front);
    states_[chosen] = RunState::running;
    return chosen;
  }
  return std::nullopt;
}

/// Taken are the sizes of all of DiffQ that the benchmark and seed have, and the targets of what is running.
size_t RunQueue::choose(const std::string& front) {
  std::vector<size_t> runs;
  std::vector<double> targets, taken;
  const Run* of_front = nullptr;
  for (size_t run = 0; run < states_.size(); ++run) {
    if (sweep_.runs[run].front != front || !ready(run)) continue;
    of_front = &sweep_.runs[run];
    runs.push_back(run);
    targets.push_back(of_front->spec.method.target_mb);
  }
  for (size_t run = 0; run < states_.size(); ++run) {
    const Run& other = sweep_.runs[run];
    if (other.front == front && states_[run] == RunState::running)
      taken.push_back(other.spec.method.target_mb);
    const bool same = other.spec.method.method == Method::diffq && other.spec.seed == of_front->spec.seed &&
                      benchmark_of(other) == benchmark_of(*of_front);
    if (same && states_[run] == RunState::done && sizes_mb_[run] > 0) taken.push_back(sizes_mb_[run]);
  }
  const FrontChoice choice = choose_of_front(targets, taken);
  gap_ = choice.gap;
  return runs[choice.candidate];
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

void RunQueue::finish(size_t run, double size_mb) {
  states_[run] = RunState::done;
  sizes_mb_[run] = size_mb;
}

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

std::vector<size_t> RunQueue::waiting() const {
  std::vector<size_t> runs;
  for (size_t run = 0; run < states_.size(); ++run)
    if (selected_[run] && states_[run] == RunState::pending) runs.push_back(run);
  return runs;
}

size_t RunQueue::count(RunState state) const {
  return static_cast<size_t>(std::count(states_.begin(), states_.end(), state));
}

}  // namespace diffq
