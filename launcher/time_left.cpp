#include "launcher/time_left.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <set>

namespace diffq {
namespace {

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

/// All of a run's specification but what changes its time little.
std::string kind_of(const Run& run) {
  nlohmann::json kind = run.config;
  for (const char* other : {"seed", "start"}) kind.erase(other);
  if (kind.contains("method"))
    for (const char* other : {"lambda", "target_mb", "bits"}) kind["method"].erase(other);
  return benchmark_of(run) + kind.dump();
}

double epochs_of(const Run& run) { return static_cast<double>(run.spec.train.epochs); }

/// Runs in the order in which groups would take them: the first that is ready, as RunQueue does it.
class Waiting {
 public:
  void add(size_t run, double from) { later_.push({from, run}); }
  bool empty() const { return ready_.empty() && later_.empty(); }
  /// The next run for a group that is free at `time`, and when it begins.
  std::pair<size_t, double> take(double time) {
    // Of groups that were free earlier, one found nothing before the time of the last run.
    time_ = std::max(time, time_);
    if (ready_.empty()) time_ = std::max(time_, later_.top().first);
    for (; !later_.empty() && later_.top().first <= time_; later_.pop()) ready_.insert(later_.top().second);
    const size_t run = *ready_.begin();
    ready_.erase(ready_.begin());
    return {run, time_};
  }

 private:
  using Entry = std::pair<double, size_t>;
  double time_ = 0;
  std::set<size_t> ready_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> later_;
};

}  // namespace

std::string text_of(const TimeEstimate& left) {
  const std::string unknown = left.unknown_runs == 0   ? ""
                              : left.unknown_runs == 1 ? "1 run"
                                                       : std::to_string(left.unknown_runs) + " runs";
  if (!(left.seconds > 0 && left.seconds < 1e10))
    return unknown.empty() ? "" : "no time known yet of " + unknown;
  const auto minutes = static_cast<int64_t>(std::ceil(left.seconds / 60));
  const auto two = [](int64_t large, const char* of_large, int64_t small, const char* of_small) {
    return std::to_string(large) + of_large + " " + std::to_string(small) + of_small;
  };
  const std::string time = minutes < 60        ? std::to_string(minutes) + " min"
                           : minutes < 24 * 60 ? two(minutes / 60, " h", minutes % 60, " min")
                                               : two(minutes / 1440, " d", minutes % 1440 / 60, " h");
  const std::string rest =
      unknown.empty() ? "" : ", not counting " + unknown + " of which nothing is known yet";
  return "about " + time + " left" + rest;
}

TimeLeft::TimeLeft(const Sweep& sweep, int groups) : sweep_(sweep), groups_(groups) {
  std::map<std::string, int> kinds, entries;
  for (const Run& run : sweep.runs) {
    kind_.push_back(kinds.try_emplace(kind_of(run), static_cast<int>(kinds.size())).first->second);
    entry_.push_back(entries.try_emplace(benchmark_of(run), static_cast<int>(entries.size())).first->second);
  }
}

void TimeLeft::Mean::add(const Cost& cost) {
  ++count;
  mean.whole += (cost.whole - mean.whole) / count;
  mean.steps += (cost.steps - mean.steps) / count;
  mean.tail += (cost.tail - mean.tail) / count;
}

void TimeLeft::add(Costs& costs, size_t run, const Cost& cost) const {
  costs.kinds[kind_[run]].add(cost);
  const double epochs = epochs_of(sweep_.runs[run]);
  if (epochs > 0) costs.entries[entry_[run]].add({cost.whole / epochs, cost.steps / epochs, cost.tail});
}

void TimeLeft::earlier(size_t run, double train_seconds) {
  if (train_seconds > 0) add(earlier_, run, {train_seconds, train_seconds, 0});
}

void TimeLeft::started(int group, size_t run, Time now) {
  active_[group] = {.run = run, .began = now, .first = {}, .last = now};
}

void TimeLeft::step(int group, const RunProgress& progress, Time now) {
  const auto found = active_.find(group);
  if (found == active_.end()) return;
  Active& active = found->second;
  const int64_t step = (progress.epoch - 1) * progress.steps + progress.step;
  active.share = static_cast<double>(step) / static_cast<double>(progress.epochs * progress.steps);
  active.last = now;
  if (active.first == Time{}) {
    active.first = now;
    active.first_share = active.share;
    active.first_step = step;
  }
}

std::optional<double> TimeLeft::Active::all_steps() const {
  if (!(share > first_share) || last <= first) return std::nullopt;
  return seconds(last - first) / (share - first_share);
}

void TimeLeft::done(int group, Time now) {
  const auto found = active_.find(group);
  if (found == active_.end()) return;
  const Active active = found->second;
  active_.erase(found);
  const double tail = seconds(now - active.last);
  if (const auto steps = active.all_steps()) {
    add(done_, active.run, {seconds(active.first - active.began) + *steps + tail, *steps, tail});
  } else if (active.first == Time{} ? epochs_of(sweep_.runs[active.run]) == 0 : active.first_step <= 2) {
    // Too short to say more, or without steps. Others went on from a checkpoint near their end.
    add(done_, active.run, {seconds(now - active.began), 0, tail});
  }
}

std::optional<double> TimeLeft::whole(const Costs& here, size_t run) const {
  for (const Costs* costs : {&here, &earlier_}) {
    if (const auto kind = costs->kinds.find(kind_[run]); kind != costs->kinds.end())
      return kind->second.mean.whole;
    if (const auto entry = costs->entries.find(entry_[run]); entry != costs->entries.end())
      return entry->second.mean.whole * epochs_of(sweep_.runs[run]);
  }
  return std::nullopt;
}

double TimeLeft::tail(size_t run) const {
  if (const auto kind = done_.kinds.find(kind_[run]); kind != done_.kinds.end())
    return kind->second.mean.tail;
  const auto entry = done_.entries.find(entry_[run]);
  return entry != done_.entries.end() ? entry->second.mean.tail : 0;
}

/// Of this start: of runs that are done, else of those at work.
TimeLeft::Costs TimeLeft::known() const {
  Costs costs = done_, running;
  for (const auto& [group, active] : active_) {
    if (const auto steps = active.all_steps()) {
      const double end = tail(active.run);
      add(running, active.run, {seconds(active.first - active.began) + *steps + end, *steps, end});
    }
  }
  costs.kinds.merge(running.kinds);
  costs.entries.merge(running.entries);
  return costs;
}

std::optional<double> TimeLeft::rest(const Active& active, const Costs& costs, Time now) const {
  const auto kind = done_.kinds.find(kind_[active.run]);
  // Runs that are done know the evaluations between the epochs too; a first epoch does not yet.
  const auto steps = kind != done_.kinds.end() && kind->second.mean.steps > 0
                         ? std::optional(kind->second.mean.steps)
                         : active.all_steps();
  if (active.first != Time{} && steps)
    return std::max(0.0, *steps * (1 - active.share) + tail(active.run) - seconds(now - active.last));
  const auto all = whole(costs, active.run);
  return all ? std::optional(std::max(0.0, *all - seconds(now - active.began))) : std::nullopt;
}

TimeEstimate TimeLeft::estimate(const std::vector<size_t>& waiting, Time now) const {
  const Costs costs = known();
  TimeEstimate left;
  std::map<size_t, double> ends;  // of what runs and is known
  std::priority_queue<double, std::vector<double>, std::greater<>> groups_free;
  for (const auto& [group, active] : active_) {
    const auto seconds_left = rest(active, costs, now);
    left.unknown_runs += !seconds_left;
    ends[active.run] = seconds_left.value_or(0);
    groups_free.push(seconds_left.value_or(0));
    left.seconds = std::max(left.seconds, seconds_left.value_or(0));
  }
  for (int group = static_cast<int>(active_.size()); group < groups_; ++group) groups_free.push(0);

  Waiting queue;
  std::map<size_t, std::vector<size_t>> after;  // those that start from a run that waits too
  const std::set<size_t> waits(waiting.begin(), waiting.end());
  for (const size_t run : waiting) {
    const int start = sweep_.runs[run].depends_on;
    if (start >= 0 && waits.contains(static_cast<size_t>(start))) {
      after[static_cast<size_t>(start)].push_back(run);
    } else {
      const auto running = start < 0 ? ends.end() : ends.find(static_cast<size_t>(start));
      queue.add(run, running == ends.end() ? 0 : running->second);
    }
  }
  while (!queue.empty()) {
    const auto [run, begin] = queue.take(groups_free.top());
    const auto cost = whole(costs, run);
    left.unknown_runs += !cost;
    const double end = begin + cost.value_or(0);
    if (cost) {
      groups_free.pop();
      groups_free.push(end);
      left.seconds = std::max(left.seconds, end);
    }
    for (const size_t next : after[run]) queue.add(next, end);
  }
  return left;
}

}  // namespace diffq
