#include "sweeps/plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include "sweeps/words.h"

namespace diffq {
namespace {

using Cells = std::vector<std::string>;

// Characters on the screen: λ is two bytes.
size_t width(const std::string& text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string megabytes(double value) {
  if (std::isnan(value)) return "";
  char text[32];
  std::snprintf(text, sizeof text, value < 1 ? "%.4f" : "%.2f", value);
  return text;
}

Cells cells_of(const Sweep& sweep, size_t i, const std::vector<PlanColumns>& columns) {
  const Run& run = sweep.runs[i];
  const RunSpec& spec = run.spec;
  Cells cells{run.run_id,
              word_of(spec.data.name, kDataNames),
              word_of(spec.model.name, kModelNames),
              word_of(spec.method.method, kMethodNames),
              strength(spec.method),
              std::to_string(spec.seed),
              run.depends_on < 0 ? "" : sweep.runs[size_t(run.depends_on)].run_id};
  if (!columns.empty())
    cells.insert(cells.end(), {std::to_string(columns[i].parameters), megabytes(columns[i].size_fp32_mb),
                               megabytes(columns[i].start_size_mb), megabytes(columns[i].least_size_mb),
                               megabytes(columns[i].memory_mb), columns[i].state});
  return cells;
}

std::string aligned(const std::vector<Cells>& table, const std::vector<char>& to_the_right) {
  std::vector<size_t> widths(table[0].size());
  for (const auto& row : table)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  std::string out;
  for (const auto& row : table) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - width(row[c]), ' ');
      line += (c ? "  " : "") + (to_the_right[c] ? space + row[c] : row[c] + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string counted(size_t n, const std::string& thing) {
  return std::to_string(n) + " " + thing + (n == 1 ? "" : "s");
}

std::string summary(const Sweep& sweep, const std::vector<PlanColumns>& columns) {
  const auto dependent = size_t(std::count_if(sweep.runs.begin(), sweep.runs.end(),
                                              [](const Run& run) { return run.depends_on >= 0; }));
  std::string out = counted(sweep.runs.size(), "run") + ", each trained by a group of " +
                    counted(size_t(sweep.ranks_per_run), "rank") + "; " + std::to_string(dependent) +
                    " of them start" + (dependent == 1 ? "s" : "") + " from another run";
  std::map<std::string, size_t> states;
  for (const auto& column : columns)
    if (!column.state.empty()) ++states[column.state];
  std::string separator = "; ";
  for (const auto& [state, n] : states) {
    out += separator + std::to_string(n) + " " + state;
    separator = ", ";
  }
  return out + "\n";
}

}  // namespace

std::string strength(const MethodSpec& method) {
  if (method.method == Method::fp32) return "";
  if (method.method != Method::diffq) return std::to_string(method.bits) + " bits";
  char text[32];
  const auto lambda = lambda_of(method);
  std::snprintf(text, sizeof text, lambda ? "λ %.6g" : "≤ %.6g MB", lambda ? *lambda : method.target_mb);
  return text;
}

std::string plan_text(const Sweep& sweep, const std::vector<PlanColumns>& columns) {
  if (!columns.empty() && columns.size() != sweep.runs.size())
    throw std::invalid_argument("plan_text: " + counted(columns.size(), "entry") + " of columns for " +
                                counted(sweep.runs.size(), "run"));
  std::vector<Cells> table{{"run", "dataset", "model", "method", "λ | bits", "seed", "starts from"}};
  if (!columns.empty())
    table[0].insert(table[0].end(), {"parameters", "fp32 MB", "start MB", "least MB", "memory MB", "state"});
  for (size_t i = 0; i < sweep.runs.size(); ++i) table.push_back(cells_of(sweep, i, columns));
  return aligned(table,
                 {false, false, false, false, true, true, false, true, true, true, true, true, false}) +
         summary(sweep, columns);
}

}  // namespace diffq
