#pragma once
// The comparison of methods, from result rows alone: one line a (benchmark, dataset, model, method, λ |
// bits), over its seeds. Written as Markdown, as CSV (one line a run) and as aligned text for a terminal.

#include <string>
#include <vector>

#include "results/tables.h"

namespace diffq {

/// All content of report.md: title, table a benchmark, failed runs with their reasons, what was run.
std::string markdown_report(const ResultFile& results);
/// All columns of /runs but config_json, one line a run, RFC 4180 quoting.
std::string csv_report(const ResultFile& results);
/// The comparison table alone, aligned for a terminal: method, λ | bits, seeds, size_mb, ratio, mean bits,
/// metric (mean ± standard deviation over seeds, no ± with one seed), difference to fp32 of the same seeds.
std::string comparison_table(const ResultFile& results);

}  // namespace diffq
