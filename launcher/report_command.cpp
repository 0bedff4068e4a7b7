#include "launcher/report_command.h"

#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "launcher/journal.h"
#include "results/durable_file.h"
#include "results/join.h"
#include "results/report.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

constexpr int kLookSeconds = 2, kReloadSeconds = 10;

ResultFile read(const fs::path& path) try {
  return read_results(path);
} catch (const std::runtime_error& error) {
  throw std::invalid_argument(std::string(error.what()) +
                              "; `diffq run` on the same folder writes it anew from the runs' own files");
}

ResultFile read_together(const std::vector<std::string>& folders) {
  std::vector<ResultFile> files;
  for (const std::string& folder : folders) {
    const auto path = fs::path(folder) / "results.h5";
    if (!fs::exists(path)) {
      throw std::invalid_argument(
          folder +
          (fs::exists(fs::path(folder) / "journal.jsonl")
               ? ": holds no results.h5 yet: a sweep at work writes it within a minute, `diffq run` on "
                 "the same folder when it ends"
               : ": holds no results.h5; give the --out folder of a sweep that has run"));
    }
    files.push_back(read(path));
  }
  return joined(std::move(files));
}

struct Paths {
  fs::path html, markdown, csv;
};

Paths paths_of(const ReportOptions& options) {
  const fs::path first = options.folders.front();
  // The folder's own report stays what it is.
  const bool one = options.folders.size() == 1;
  const auto path = [&](const std::string& given, const char* own, const char* joined) {
    return given.empty() ? first / (one ? own : joined) : fs::path(given);
  };
  return {path(options.html, "report.html", "joined.html"), path(options.markdown, "report.md", "joined.md"),
          path(options.csv, "results.csv", "joined.csv")};
}

/// Writes all three files; returns the table for the terminal.
std::string write_report(const ReportOptions& options, int reload_seconds) {
  const ResultFile results = read_together(options.folders);
  const Report report(results);
  const Paths paths = paths_of(options);
  try {
    replace_file(paths.html, html_report(report, reload_seconds));
    replace_file(paths.markdown, markdown_report(report));
    replace_file(paths.csv, csv_report(report));
  } catch (const std::runtime_error& error) {
    throw std::invalid_argument(std::string(error.what()) + "; --html, --markdown and --csv write elsewhere");
  }
  return comparison_table(report);
}

/// Whether the folder's last start has ended with nothing left to do, by its journal. A sweep that was
/// stopped goes on with the next start.
bool has_ended(const std::string& folder) {
  bool ended = false;
  for (const auto& event : read_journal(fs::path(folder) / "journal.jsonl")) {
    const std::string kind = event.value("event", "");
    if (kind == "sweep_started") ended = false;
    if (kind == "sweep_ended") ended = event.value("unfinished", size_t{0}) == 0;
  }
  return ended;
}

bool all_have_ended(const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    if (!has_ended(folder)) return false;
  }
  return true;
}

/// When each results.h5 was last written; none while one is still missing.
std::optional<std::vector<fs::file_time_type>> writing_times(const std::vector<std::string>& folders) {
  std::vector<fs::file_time_type> times;
  for (const std::string& folder : folders) {
    std::error_code missing;
    times.push_back(fs::last_write_time(fs::path(folder) / "results.h5", missing));
    if (missing) return std::nullopt;
  }
  return times;
}

/// Waits; true if SIGINT or SIGTERM, which the caller has blocked, came meanwhile.
bool stopped_while_waiting(const sigset_t& signals) {
  const timespec wait{kLookSeconds, 0};
  return sigtimedwait(&signals, nullptr, &wait) > 0;
}

/// Returns when the sweep has ended or the user wants no more; false if there was nothing to show yet.
bool watch(const ReportOptions& options) {
  for (const std::string& folder : options.folders) {
    if (!fs::exists(fs::path(folder) / "journal.jsonl"))
      throw std::invalid_argument(folder + ": holds no journal.jsonl; give the --out folder of a sweep");
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const std::string page = paths_of(options).html.string();
  std::printf("watching; the page %s loads itself again; Ctrl-C ends\n", page.c_str());
  std::fflush(stdout);
  std::optional<std::vector<fs::file_time_type>> written;
  do {
    // Asked first: the journal's last line comes after the last results.h5.
    if (all_have_ended(options.folders)) return true;
    const auto times = writing_times(options.folders);
    if (!times || times == written) continue;
    write_report(options, kReloadSeconds);
    written = times;
  } while (!stopped_while_waiting(signals));
  return written.has_value();
}

}  // namespace

int report_command(const ReportOptions& options) {
  if (options.watch && !watch(options)) {
    std::printf("nothing to show yet: no results.h5 was written meanwhile\n");
    return 0;
  }
  const std::string table = write_report(options, 0);
  const Paths paths = paths_of(options);
  std::printf("%s\nreport  %s\npage    %s\ntable   %s\n", table.c_str(), paths.markdown.c_str(),
              paths.html.c_str(), paths.csv.c_str());
  return 0;
}

}  // namespace diffq
