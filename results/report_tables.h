#pragma once
// The report as tables and sentences, the same for Markdown, page and terminal: numbers become text here, and
// nowhere else.

#include <string>
#include <vector>

#include "results/analysis.h"
#include "results/tables.h"

namespace diffq {

using Line = std::vector<std::string>;

struct Table {
  std::string title, note;
  size_t text_columns = 1;  ///< aligned to the left, the numbers behind them to the right
  std::vector<Line> lines;  ///< the first is the header
  bool empty() const { return lines.size() < 2; }
};

/// One line a (method, λ | bits): seeds, size_mb, ratio, mean bits, metric (mean ± standard deviation over
/// seeds), difference to fp32 of the same seeds.
Table settings_table(const Comparison& comparison);
Table compression_table(const Comparison& comparison, const Analysis& analysis);
Table equal_size_table(const Comparison& comparison, const Analysis& analysis);
Table hypervolume_table(const Comparison& comparison, const Analysis& analysis);
Table cost_table(const Comparison& comparison);  ///< time, throughput and memory of each method
Table claims_table(const Comparison& comparison);
/// All of these but the first, those that have lines.
std::vector<Table> detail_tables(const Comparison& comparison, const Analysis& analysis);
/// One line for all ranks of a host that ran the same on the same kind of device.
Table environment_table(const std::vector<EnvironmentRow>& environment);

/// "image · mnist · small_cnn"
std::string title_of(const Comparison& comparison);
/// "0123456789ab (lsq, 4 bits, seed 2): why", a line a failed run.
std::vector<std::string> failures_of(const Comparison& comparison);
/// What the reader has to know of units, of the spread and of intervals.
std::vector<std::string> notes_on(const std::vector<Comparison>& comparisons);
/// Empty, or a warning that the runs come from several versions of the program.
std::string version_warning(const std::vector<RunRow>& runs);
/// "12 runs: 10 done, 1 failed, 1 pending. 3.5 minutes of training."
std::string totals_of(const std::vector<RunRow>& runs);

/// The text on one line, of well-formed UTF-8.
std::string one_line(std::string text);

}  // namespace diffq
