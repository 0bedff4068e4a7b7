#include "results/report.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>

#include "results/columns.h"
#include "results/comparison.h"
#include "results/utf8.h"

namespace diffq {
namespace {

using Line = std::vector<std::string>;

constexpr size_t kTextColumns = 2;  ///< method and λ | bits are aligned to the left, the numbers to the right
constexpr const char* kUnits =
    "Sizes in MB = 2^20 bytes. ± is the sample standard deviation over seeds. Δ fp32 is the mean over seeds "
    "of the metric "
    "minus that of the fp32 run of the same seed.";
constexpr const char* kOneSeed = "One seed gives no spread: a metric without ± rests on a single run.";

// --- Cells
// -----------------------------------------------------------------------------------------------------------

std::string seeds_cell(const ComparisonRow& row) {
  const size_t all = row.done.size() + row.failed.size() + row.pending.size();
  std::string text = std::to_string(row.done.size());
  if (row.done.size() == all) return text;
  text += " of " + std::to_string(all) + " (";
  if (!row.failed.empty()) text += std::to_string(row.failed.size()) + " failed";
  if (!row.failed.empty() && !row.pending.empty()) text += ", ";
  if (!row.pending.empty()) text += std::to_string(row.pending.size()) + " pending";
  return text + ")";
}

/// "mean ± deviation"; says of how many runs, if not of all that are done.
std::string spread_cell(const ComparisonRow& row, const Spread& spread, int decimals, bool with_deviation) {
  std::string text = fixed(spread.mean, decimals);
  if (with_deviation && spread.count > 1) text += " ± " + fixed(spread.deviation, decimals);
  if (spread.count > 0 && spread.count < row.done.size()) {
    text += " (" + std::to_string(spread.count) + " of " + std::to_string(row.done.size()) + ")";
  }
  return text;
}

/// The header, then a line a row.
std::vector<Line> cells_of(const Comparison& comparison) {
  std::vector<double> sizes;
  for (const ComparisonRow& row : comparison.rows) sizes.push_back(row.size_mb.mean);
  const int size_decimals = decimals_for(sizes);
  std::vector<Line> lines{{"method", "λ | bits", "seeds", "size MB", "ratio", "mean bits",
                           comparison.metric_name.empty() ? "metric" : comparison.metric_name, "Δ fp32"}};
  for (const ComparisonRow& row : comparison.rows) {
    // Sizes of fixed bits are the same for every seed; a ± 0 there would claim that something was measured.
    lines.push_back({row.method, label(row), seeds_cell(row),
                     spread_cell(row, row.size_mb, size_decimals, row.size_mb.deviation > 0),
                     spread_cell(row, row.ratio, 2, false),
                     spread_cell(row, row.mean_bits, 2, row.mean_bits.deviation > 0),
                     spread_cell(row, row.metric, 2, true),
                     row.method == "fp32" ? "–" : fixed(row.difference.mean, 2, true)});
  }
  return lines;
}

// --- Sentences
// -------------------------------------------------------------------------------------------------------

bool has_one_seed(const std::vector<Comparison>& comparisons) {
  for (const Comparison& comparison : comparisons) {
    for (const ComparisonRow& row : comparison.rows) {
      if (row.metric.count == 1) return true;
    }
  }
  return false;
}

/// Empty, or a warning that the rows were not made by one program.
std::string version_warning(const std::vector<RunRow>& runs) {
  std::set<std::string> versions;
  for (const RunRow& run : runs) {
    if (run.status != "done" || run.program_version.empty()) continue;
    versions.insert(run.program_version + (run.git_commit.empty() ? "" : " (" + run.git_commit + ")"));
  }
  if (versions.size() < 2) return "";
  std::string text = "Warning: the runs come from different versions of the program: ";
  for (const std::string& version : versions) text += (version == *versions.begin() ? "" : ", ") + version;
  return text + ".";
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7F') c = ' ';
  }
  return valid_utf8(text);
}

/// "0123456789ab (lsq, 4 bits, seed 2): why", a line a failed run.
std::vector<std::string> failures(const Comparison& comparison) {
  std::vector<std::string> lines;
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow& run : row.failed) {
      const std::string setting = label(row) == "–" ? "" : ", " + label(row);
      lines.push_back(one_line(run.run_id + " (" + row.method + setting + ", seed " +
                               std::to_string(run.seed) +
                               "): " + (run.reason.empty() ? "no reason recorded" : run.reason)));
    }
  }
  return lines;
}

std::string title(const Comparison& comparison) {
  return one_line(comparison.benchmark + " · " + comparison.dataset + " · " + comparison.model);
}

// --- Markdown
// --------------------------------------------------------------------------------------------------------

/// Escapes what Markdown would read as markup; an underscore within a word is none, and stays readable.
std::string escaped(const std::string& text) {
  const std::string line = one_line(text);
  const auto in_word = [&](size_t i) {
    return i < line.size() && std::isalnum(static_cast<unsigned char>(line[i]));
  };
  std::string result;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool markup = std::string_view("\\`*|<>[]~&$").find(line[i]) != std::string_view::npos;
    const bool emphasis = line[i] == '_' && !(i > 0 && in_word(i - 1) && in_word(i + 1));
    if (markup || emphasis) result += '\\';
    result += line[i];
  }
  return result;
}

std::string markdown_line(const Line& line) {
  std::string text = "|";
  for (const std::string& cell : line) text += " " + escaped(cell) + " |";
  return text + "\n";
}

std::string markdown_table(const std::vector<Line>& lines, size_t text_columns) {
  std::string text = markdown_line(lines[0]) + "|";
  for (size_t i = 0; i < lines[0].size(); ++i) text += i < text_columns ? ":--|" : "--:|";
  text += "\n";
  for (size_t i = 1; i < lines.size(); ++i) text += markdown_line(lines[i]);
  return text;
}

std::string markdown_list(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += "- " + escaped(item) + "\n";
  return text;
}

std::string markdown_comparison(const Comparison& comparison) {
  std::string text = "\n## " + escaped(title(comparison)) + "\n\n";
  text += markdown_table(cells_of(comparison), kTextColumns);
  const auto found = findings(comparison), failed = failures(comparison);
  if (!found.empty()) text += "\n" + markdown_list(found);
  if (!failed.empty()) text += "\nFailed runs:\n\n" + markdown_list(failed);
  return text;
}

/// "12 runs: 10 done, 1 failed, 1 pending. 3.5 minutes of training."
std::string totals(const std::vector<RunRow>& runs) {
  size_t done = 0, failed = 0;
  double seconds = 0;
  for (const RunRow& run : runs) {
    done += run.status == "done";
    failed += run.status == "failed";
    if (!std::isnan(run.train_seconds)) seconds += run.train_seconds;
  }
  return std::to_string(runs.size()) + (runs.size() == 1 ? " run: " : " runs: ") + std::to_string(done) +
         " done, " + std::to_string(failed) + " failed, " + std::to_string(runs.size() - done - failed) +
         " pending. " + fixed(seconds / 60, 1) + " minutes of training.";
}

/// One line for all ranks of a host that ran the same on the same kind of device.
std::string markdown_environment(const std::vector<EnvironmentRow>& environment) {
  std::map<Line, size_t> ranks;
  for (const EnvironmentRow& row : environment) {
    ++ranks[{row.host, row.device, row.program, row.torch, row.mpi, row.nccl, row.hdf5}];
  }
  if (ranks.empty()) return "";
  std::vector<Line> lines{{"host", "device", "diffq", "torch", "MPI", "NCCL", "HDF5", "ranks"}};
  for (const auto& [cells, count] : ranks) {
    lines.push_back(cells);
    lines.back().push_back(std::to_string(count));
  }
  return "\n" + markdown_table(lines, lines[0].size() - 1);
}

// --- Terminal
// --------------------------------------------------------------------------------------------------------

std::string aligned(const std::vector<Line>& lines) {
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const Line& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], display_width(line[i]));
  }
  std::string text;
  for (const Line& line : lines) {
    std::string row;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string padding(widths[i] - display_width(line[i]), ' ');
      row += (i == 0 ? "" : "  ") + (i < kTextColumns ? line[i] + padding : padding + line[i]);
    }
    text += row + "\n";
  }
  return text;
}

std::string terminal_comparison(const Comparison& comparison) {
  std::vector<Line> lines = cells_of(comparison);
  for (Line& line : lines) {
    for (std::string& cell : line) cell = one_line(cell);
  }
  std::string text = title(comparison) + "\n" + aligned(lines);
  for (const std::string& finding : findings(comparison)) text += one_line(finding) + "\n";
  for (const std::string& failure : failures(comparison)) text += "Failed: " + failure + "\n";
  return text + "\n";
}

// --- CSV
// -------------------------------------------------------------------------------------------------------------

std::string csv_field(const std::string& value) {
  if (value.find_first_of(",\"\r\n") == std::string::npos) return value;
  std::string quoted = "\"";
  for (const char c : value) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}
std::string csv_field(int64_t value) { return std::to_string(value); }
std::string csv_field(bool value) { return value ? "1" : "0"; }
std::string csv_field(double value) {
  if (std::isnan(value)) return "";
  char text[40];  // the shortest text that reads back as the same number
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

}  // namespace

std::string comparison_table(const ResultFile& results) {
  const std::vector<Comparison> comparisons = compare(results.runs);
  if (comparisons.empty()) return "No runs.\n";
  std::string text;
  for (const Comparison& comparison : comparisons) text += terminal_comparison(comparison);
  text += std::string(kUnits) + "\n";
  if (has_one_seed(comparisons)) text += std::string(kOneSeed) + "\n";
  const std::string warning = version_warning(unique_runs(results.runs));
  return warning.empty() ? text : text + one_line(warning) + "\n";
}

std::string markdown_report(const ResultFile& results) {
  const std::vector<RunRow> runs = unique_runs(results.runs);
  const std::vector<Comparison> comparisons = compare(runs);
  std::string text =
      "# " + (results.sweep.empty() ? "Results" : escaped(results.sweep)) + "\n\n" + kUnits + "\n";
  if (has_one_seed(comparisons)) text += std::string("\n") + kOneSeed + "\n";
  const std::string warning = version_warning(runs);
  if (!warning.empty()) text += "\n**" + escaped(warning) + "**\n";
  for (const Comparison& comparison : comparisons) text += markdown_comparison(comparison);
  text += "\n## What was run\n\n" + totals(runs) + "\n";
  if (!results.program_version.empty()) {
    text += "Written by diffq " + escaped(results.program_version) +
            (results.git_commit.empty() ? "" : " (" + escaped(results.git_commit) + ")") + ".\n";
  }
  return text + markdown_environment(results.environment);
}

std::string csv_report(const ResultFile& results) {
  std::vector<Column<RunRow>> shown = columns<RunRow>();
  std::erase_if(shown, [](const Column<RunRow>& column) { return column.name == "config_json"; });
  const auto line = [&](const auto& cell) {
    std::string text;
    for (const Column<RunRow>& column : shown) text += (&column == &shown[0] ? "" : ",") + cell(column);
    return text + "\r\n";
  };
  std::string text = line([](const Column<RunRow>& column) { return column.name; });
  for (const RunRow& run : unique_runs(results.runs)) {
    text += line([&](const Column<RunRow>& column) {
      return visit_field(run, column, [](const auto& value) { return csv_field(value); });
    });
  }
  return text;
}

}  // namespace diffq
