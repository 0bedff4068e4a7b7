#pragma once
// journal.jsonl: what happened to a sweep, one JSON event a line, appended and synced by world rank 0 alone.
// It is the truth from which a later start goes on; a last line torn by a kill is ignored.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace diffq {

class Journal {
 public:
  /// Opens for appending, makes the file if there is none. Throws std::runtime_error naming the path.
  explicit Journal(const std::filesystem::path& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Adds "time" (UTC) and writes the event. Throws std::runtime_error naming the path.
  void append(nlohmann::json event);
  /// What was appended is on disk when this returns; the same errors.
  void sync();

 private:
  std::filesystem::path path_;
  int file_ = -1;
  bool synced_ = true;
};

/// All whole events in order; nothing if there is no such file. Throws std::invalid_argument naming the path
/// and line if a line is damaged that is not the last of a start.
std::vector<nlohmann::json> read_journal(const std::filesystem::path& path);

/// Now, as 2026-01-31T23:59:59Z.
std::string utc_now();

}  // namespace diffq
