#pragma once
// What the journal says of one run over all starts of its sweep, and when it has had starts enough.

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "results/file_sum.h"

namespace diffq {

/// A run that was itself the end of so many starts is given up.
inline constexpr int kMostCrashes = 3;

struct RunHistory {
  std::optional<nlohmann::json> ended;  ///< its last run_done or run_failed, unless it started again since
  bool started = false;                 ///< since then, and nothing was heard of its end
  int crashes = 0;                      ///< since its last end: starts that it took down with itself
  std::string last_crash;
  int64_t step = 0;   ///< of the checkpoint that it last went on from
  int fruitless = 0;  ///< starts in a row from that step; those that were stopped do not count

  /// Its files as the journal has them; nothing in a journal that does not.
  std::map<std::string, FileSum> files() const;
  /// Why the run is not to be started again, or "". `step`: of its newest checkpoint now.
  std::string quarantine(int64_t step, int max_starts) const;
};

/// By run id, from the events of journal.jsonl in order.
std::map<std::string, RunHistory> read_histories(const std::vector<nlohmann::json>& events);

/// The files that a finished run leaves, of those it has, with their sums, as the journal has them.
nlohmann::json sums_of_run(const std::filesystem::path& run_folder);

/// What the run's `crash` file says, in one line; nothing if there is none.
std::optional<std::string> read_crash(const std::filesystem::path& run_folder);

}  // namespace diffq
