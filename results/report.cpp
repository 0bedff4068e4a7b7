#include "results/report.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "results/columns.h"
#include "results/report_tables.h"
#include "results/utf8.h"

namespace diffq {
namespace {

// --- Markdown ----------------------------------------------------------------------------------------------

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

std::string markdown_table(const Table& table) {
  std::string text = markdown_line(table.lines[0]) + "|";
  for (size_t i = 0; i < table.lines[0].size(); ++i) text += i < table.text_columns ? ":--|" : "--:|";
  text += "\n";
  for (size_t i = 1; i < table.lines.size(); ++i) text += markdown_line(table.lines[i]);
  return text;
}

std::string markdown_list(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += "- " + escaped(item) + "\n";
  return text;
}

std::string markdown_section(const Table& table) {
  const std::string note = table.note.empty() ? "" : escaped(table.note) + "\n\n";
  return "\n### " + escaped(table.title) + "\n\n" + note + markdown_table(table);
}

std::string markdown_benchmark(const Comparison& comparison, const Analysis& analysis) {
  std::string text =
      "\n## " + escaped(title_of(comparison)) + "\n\n" + markdown_table(settings_table(comparison));
  const auto found = findings(comparison, analysis), failed = failures_of(comparison);
  if (!found.empty()) text += "\n" + markdown_list(found);
  if (!failed.empty()) text += "\nFailed runs:\n\n" + markdown_list(failed);
  for (const Table& table : detail_tables(comparison, analysis)) text += markdown_section(table);
  return text;
}

// --- Terminal ----------------------------------------------------------------------------------------------

std::string aligned(const Table& table) {
  const std::vector<Line>& lines = table.lines;
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const Line& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], display_width(line[i]));
  }
  std::string text;
  for (const Line& line : lines) {
    std::string row;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string padding(widths[i] - display_width(line[i]), ' ');
      row += (i == 0 ? "" : "  ") + (i < table.text_columns ? line[i] + padding : padding + line[i]);
    }
    text += row + "\n";
  }
  return text;
}

std::string terminal_benchmark(const Comparison& comparison, const Analysis& analysis) {
  Table table = settings_table(comparison);
  for (Line& line : table.lines) {
    for (std::string& cell : line) cell = one_line(cell);
  }
  std::string text = title_of(comparison) + "\n" + aligned(table);
  for (const std::string& finding : findings(comparison, analysis)) text += one_line(finding) + "\n";
  for (const std::string& failure : failures_of(comparison)) text += "Failed: " + failure + "\n";
  return text + "\n";
}

// --- CSV ---------------------------------------------------------------------------------------------------

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

Report::Report(const ResultFile& file)
    : results(file), runs(unique_runs(file.runs)), comparisons(compare(runs)) {
  for (const Comparison& comparison : comparisons) analyses.push_back(analyse(comparison));
}

std::string comparison_table(const Report& report) {
  if (report.comparisons.empty()) return "No runs.\n";
  std::string text;
  for (size_t i = 0; i < report.comparisons.size(); ++i)
    text += terminal_benchmark(report.comparisons[i], report.analyses[i]);
  for (const std::string& note : notes_on(report.comparisons)) text += note + "\n";
  const std::string warning = version_warning(report.runs);
  return warning.empty() ? text : text + one_line(warning) + "\n";
}

std::string markdown_report(const Report& report) {
  const ResultFile& results = report.results;
  std::string text = "# " + (results.sweep.empty() ? "Results" : escaped(results.sweep)) + "\n";
  for (const std::string& note : notes_on(report.comparisons)) text += "\n" + escaped(note) + "\n";
  const std::string warning = version_warning(report.runs);
  if (!warning.empty()) text += "\n**" + escaped(warning) + "**\n";
  for (size_t i = 0; i < report.comparisons.size(); ++i)
    text += markdown_benchmark(report.comparisons[i], report.analyses[i]);
  text += "\n## What was run\n\n" + totals_of(report.runs) + "\n";
  if (!results.program_version.empty()) {
    text += "Written by diffq " + escaped(results.program_version) +
            (results.git_commit.empty() ? "" : " (" + escaped(results.git_commit) + ")") + ".\n";
  }
  const Table environment = environment_table(results.environment);
  return environment.empty() ? text : text + "\n" + markdown_table(environment);
}

std::string csv_report(const Report& report) {
  std::vector<Column<RunRow>> shown = columns<RunRow>();
  std::erase_if(shown, [](const Column<RunRow>& column) { return column.name == "config_json"; });
  const auto line = [&](const auto& cell) {
    std::string text;
    for (const Column<RunRow>& column : shown) text += (&column == &shown[0] ? "" : ",") + cell(column);
    return text + "\r\n";
  };
  std::string text = line([](const Column<RunRow>& column) { return column.name; });
  for (const RunRow& run : report.runs) {
    text += line([&](const Column<RunRow>& column) {
      return visit_field(run, column, [](const auto& value) { return csv_field(value); });
    });
  }
  return text;
}

}  // namespace diffq
