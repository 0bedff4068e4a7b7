#pragma once
// The report that people read, from result rows alone: Markdown, a page for the browser, CSV (one line a run)
// and aligned text for a terminal. All say the same: numbers come from comparison.h and analysis.h, their
// text from report_tables.h.

#include <string>
#include <vector>

#include "results/analysis.h"
#include "results/tables.h"

namespace diffq {

/// What all forms of the report share, computed once. Borrows the rows.
struct Report {
  Report(const ResultFile& file);

  const ResultFile& results;
  std::vector<RunRow> runs;  ///< each once
  std::vector<Comparison> comparisons;
  std::vector<Analysis> analyses;  ///< one a comparison
};

/// All content of report.md: title, tables a benchmark, failed runs with their reasons, what was run.
std::string markdown_report(const Report& report);
/// report.html: one file that needs no other, with the charts. With reload_seconds above 0 the page loads
/// itself again that often.
std::string html_report(const Report& report, int reload_seconds = 0);
/// All columns of /runs but config_json, one line a run, RFC 4180 quoting.
std::string csv_report(const Report& report);
/// The table of settings, findings and failures, aligned for a terminal.
std::string comparison_table(const Report& report);

}  // namespace diffq
