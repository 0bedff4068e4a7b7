#include <algorithm>
#include <map>
#include <string_view>

#include "results/page/page_files.h"
#include "results/page_data.h"
#include "results/report_tables.h"

namespace diffq {
namespace {

std::string escaped(const std::string& text) {
  static const std::map<char, const char*> kEntities{
      {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
  std::string result;
  for (const char c : one_line(text)) {
    const auto entity = kEntities.find(c);
    if (entity == kEntities.end()) {
      result += c;
    } else {
      result += entity->second;
    }
  }
  return result;
}

std::string element(const std::string& name, const std::string& text) {
  return "<" + name + ">" + escaped(text) + "</" + name + ">\n";
}

std::string list(const std::vector<std::string>& items, const std::string& kind) {
  if (items.empty()) return "";
  std::string text = "<ul class=\"" + kind + "\">\n";
  for (const std::string& item : items) text += element("li", item);
  return text + "</ul>\n";
}

constexpr size_t kLongCell = 40;  ///< bytes; longer text is broken into lines

std::string table_line(const Line& line, size_t text_columns, const std::string& cell) {
  std::string text = "<tr>";
  for (size_t i = 0; i < line.size(); ++i) {
    const bool is_long = line[i].size() > kLongCell;
    const char* kind = i >= text_columns ? " class=\"number\"" : is_long ? " class=\"long\"" : "";
    text += "<" + cell + kind + ">" + escaped(line[i]) + "</" + cell + ">";
  }
  return text + "</tr>\n";
}

std::string html_table(const Table& table) {
  if (table.empty()) return "";
  std::string text = element("h3", table.title);
  if (!table.note.empty()) text += element("p", table.note);
  text += "<div class=\"scroll\"><table>\n<thead>" + table_line(table.lines[0], table.text_columns, "th") +
          "</thead>\n<tbody>\n";
  for (size_t i = 1; i < table.lines.size(); ++i)
    text += table_line(table.lines[i], table.text_columns, "td");
  return text + "</tbody></table></div>\n";
}

/// A place that page/page.js fills with the chart of this name.
std::string figure(size_t benchmark, const std::string& chart, const std::string& caption) {
  return "<figure class=\"chart\" data-benchmark=\"" + std::to_string(benchmark) + "\" data-chart=\"" +
         chart + "\"><figcaption>" + escaped(caption) + "</figcaption><div class=\"plot\"></div></figure>\n";
}

std::string count_of(size_t count, const std::string& what) { return std::to_string(count) + " " + what; }

/// What the main chart shows, and which runs it can't show.
std::string size_caption(const Comparison& comparison) {
  size_t done = 0, failed = 0, pending = 0;
  for (const ComparisonRow& row : comparison.rows) {
    done += row.done.size();
    failed += row.failed.size();
    pending += row.pending.size();
  }
  std::string text =
      comparison.metric_name + " against size: " + count_of(done, "runs (small)") +
      ", means over seeds (large), the Pareto front of the means with its 95 % band, fp32 dashed.";
  if (failed + pending > 0)
    text += " Without a mark: " + count_of(failed, "failed") + ", " + count_of(pending, "pending") + ".";
  return text;
}

std::string pair_of(const std::string& figures) { return "<div class=\"pair\">\n" + figures + "</div>\n"; }

/// What λ does to size, metric and the layers; nothing where no run has a λ.
std::string lambda_part(size_t index, const Comparison& comparison) {
  const auto& rows = comparison.rows;
  if (std::all_of(rows.begin(), rows.end(), [](const ComparisonRow& row) { return std::isnan(row.lambda); }))
    return "";
  const std::string& metric = comparison.metric_name;
  return element("h3", "Choosing λ") +
         element("p", "Useful λ lie where the size still falls and the " + metric +
                          " is still near fp32's (dashed).") +
         pair_of(figure(index, "lambda_metric", metric + " against λ.") +
                 figure(index, "lambda_size", "Size against λ.")) +
         element("h3", "Bits of the layers") +
         pair_of(
             figure(index, "layer_bits",
                    "Mean bits of each layer, from the first to the last, mean over seeds.") +
             figure(index, "bits_share", "Share of the weights at each number of bits, over all layers."));
}

std::string curves_part(size_t index, const Comparison& comparison) {
  return element("h3", "Curves") + "<p class=\"curve-choice\" data-benchmark=\"" + std::to_string(index) +
         "\"></p>\n" +
         pair_of(figure(index, "train_loss", "Training loss.") +
                 figure(index, "eval_loss", "Loss on held-out data.") +
                 figure(index, "metric", comparison.metric_name + " on held-out data.") +
                 figure(index, "size_mb", "Size in MB.") + figure(index, "mean_bits", "Mean bits."));
}

std::string benchmark_section(size_t index, const Comparison& comparison, const Analysis& analysis) {
  std::string text = "<section id=\"benchmark-" + std::to_string(index) + "\">\n";
  text += element("h2", title_of(comparison)) + list(findings(comparison, analysis), "findings");
  text += figure(index, "size", size_caption(comparison)) + html_table(settings_table(comparison));
  text += html_table(equal_size_table(comparison, analysis));
  text += figure(index, "equal_size",
                 "DiffQ − baseline at equal size in " + comparison.metric_name +
                     ", with 95 % intervals where there are seeds.");
  text += html_table(compression_table(comparison, analysis));
  text += html_table(hypervolume_table(comparison, analysis));
  text += lambda_part(index, comparison) + curves_part(index, comparison);
  text += html_table(cost_table(comparison));
  const auto failed = failures_of(comparison);
  if (!failed.empty()) text += element("h3", "Failed runs") + list(failed, "failures");
  return text + html_table(claims_table(comparison)) + "</section>\n";
}

std::string contents(const Report& report) {
  std::string text = "<nav>";
  for (size_t i = 0; i < report.comparisons.size(); ++i) {
    text += "<a href=\"#benchmark-" + std::to_string(i) + "\">" + escaped(title_of(report.comparisons[i])) +
            "</a> ";
  }
  return text +
         "<a href=\"#numbers\">How to read the numbers</a> <a href=\"#repeat\">To repeat it</a></nav>\n";
}

std::string head_section(const Report& report, const std::string& title) {
  std::string text = element("h1", title) + element("p", totals_of(report.runs));
  const std::string warning = version_warning(report.runs);
  if (!warning.empty()) text += "<p class=\"warning\">" + escaped(warning) + "</p>\n";
  return text + contents(report);
}

std::string numbers_section(const Report& report) {
  std::string text = "<section id=\"numbers\">\n" + element("h2", "How to read the numbers");
  for (const std::string& note : notes_on(report.comparisons)) text += element("p", note);
  return text + "</section>\n";
}

/// What is needed to do the same again.
std::string repeat_section(const ResultFile& results) {
  std::string text = "<section id=\"repeat\">\n" + element("h2", "To repeat it");
  text += html_table(environment_table(results.environment));
  for (const SweepRow& sweep : results.sweeps) {
    text += "<details><summary>" +
            escaped("The sweep file of " + sweep.sweep + ", every default written out; started by diffq " +
                    sweep.program_version + " (" + sweep.git_commit + ")") +
            "</summary><pre>";
    std::string line;
    for (const char c : sweep.sweep_json + "\n") {
      if (c != '\n') {
        line += c;
        continue;
      }
      text += escaped(line) + "\n";
      line.clear();
    }
    text += "</pre></details>\n";
  }
  if (results.sweeps.empty())
    text += element(
        "p", "These results are of an older version of diffq, which didn't keep the sweep file in them.");
  return text + "</section>\n";
}

/// JSON that may stand in a script element.
std::string data_script(const nlohmann::json& data) {
  std::string text;
  for (const char c : data.dump()) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

/// The template with each {{name}} replaced.
std::string filled(std::string_view page, const std::map<std::string, std::string_view>& values) {
  std::string text;
  for (size_t at = 0; at < page.size();) {
    const size_t open = page.find("{{", at), close = page.find("}}", open);
    text += page.substr(at, open - at);
    if (open == std::string_view::npos) break;
    text += values.at(std::string(page.substr(open + 2, close - open - 2)));
    at = close + 2;
  }
  return text;
}

}  // namespace

std::string html_report(const Report& report, int reload_seconds) {
  const std::string title = report.results.sweep.empty() ? "Results" : report.results.sweep;
  std::string content = head_section(report, title);
  for (size_t i = 0; i < report.comparisons.size(); ++i)
    content += benchmark_section(i, report.comparisons[i], report.analyses[i]);
  content += numbers_section(report) + repeat_section(report.results);
  const std::string escaped_title = escaped(title), data = data_script(page_data(report));
  const std::string reload = std::to_string(reload_seconds);
  return filled(page_files::report_html, {{"title", escaped_title},
                                          {"style", page_files::report_css},
                                          {"reload_seconds", reload},
                                          {"content", content},
                                          {"licenses", page_files::licenses_txt},
                                          {"data", data},
                                          {"library", page_files::vega_bundle_js},
                                          {"charts", page_files::charts_js},
                                          {"page", page_files::page_js}});
}

}  // namespace diffq
