#include "results/comparison.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <tuple>

namespace diffq {
namespace {

using nlohmann::json;

constexpr std::array kMethodOrder{"fp32", "ptq", "qat", "lsq", "diffq"};

json config_of(const RunRow& run) {
  json config = json::parse(run.config_json, nullptr, false);
  return config.is_object() ? config : json{{"config", run.config_json}};
}

/// The run's specification without its seed: runs with the same are averaged.
json settings_of(const RunRow& run) {
  json config = config_of(run);
  config.erase("seed");
  // The id of the fp32 run that this one starts from: of the same settings, and another for each seed.
  config.erase("start");
  config["group_size"] = std::isnan(run.group_size) ? json() : json(run.group_size);
  return config;
}

size_t method_rank(const std::string& method) {
  return std::find(kMethodOrder.begin(), kMethodOrder.end(), method) - kMethodOrder.begin();
}

/// The shortest text that reads back as the same number.
std::string shortest(double value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

/// NaN, not applicable, comes first and equals itself, so that it can be a key.
double sortable(double value) { return std::isnan(value) ? -HUGE_VAL : value; }

auto label_key(const std::string& method, double lambda, double bits) {
  return std::tuple(method_rank(method), method, sortable(bits), sortable(lambda));
}

using LabelKey = decltype(label_key("", 0, 0));

struct Entry {
  ComparisonRow row;
  json settings;
};

/// Says of each row of one method what tells it from the others, apart from λ and bits, which have columns; a
/// target, which stands in λ's place and has none, even of a single row.
void name_settings(const std::vector<Entry*>& same_method) {
  std::map<std::string, std::vector<json>> values;
  for (const Entry* entry : same_method) {
    const json flat = entry->settings.flatten();
    for (const auto& item : flat.items()) values[item.key()].push_back(item.value());
  }
  for (const auto& [path, found] : values) {
    const bool shared = found.size() == same_method.size() &&
                        std::all_of(found.begin(), found.end(), [&](const json& v) { return v == found[0]; });
    // The group size is a column of its own too; the specification's word for it would only repeat it.
    if ((shared && path != "/method/target_mb") || path == "/method/group_size" || path == "/method/lambda" ||
        path == "/method/bits")
      continue;
    const std::string name = path.substr(path.find_last_of('/') + 1);
    for (Entry* entry : same_method) {
      const json::json_pointer pointer(path);
      if (!entry->settings.contains(pointer)) continue;
      const json& value = entry->settings.at(pointer);
      std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      if (value.is_number_float()) text = shortest(value.get<double>());
      entry->row.setting += (entry->row.setting.empty() ? "" : ", ") + name + "=" + text;
    }
  }
}

template <class Value>
Spread spread_over(const std::vector<RunRow>& runs, const Value& value) {
  std::vector<double> values;
  for (const RunRow& run : runs) values.push_back(value(run));
  return spread_of(values);
}

void summarise(ComparisonRow& row) {
  row.metric = spread_over(row.done, [](const RunRow& run) { return run.metric; });
  row.size_mb = spread_over(row.done, [](const RunRow& run) { return run.size_mb; });
  row.ratio = spread_over(row.done, [](const RunRow& run) { return run.ratio; });
  row.mean_bits = spread_over(row.done, [](const RunRow& run) { return run.mean_bits; });
  row.difference = spread_over(row.done, [](const RunRow& run) { return run.metric - run.metric_fp32; });
}

Comparison compare_one(const std::vector<RunRow>& runs) {
  Comparison result{runs[0].benchmark, runs[0].dataset, runs[0].model, "", true, {}};
  std::map<std::pair<LabelKey, std::string>, Entry> entries;
  for (const RunRow& run : runs) {
    // A run that is done knows its metric; others may have been written before that was known.
    if (result.metric_name.empty() || run.status == "done") {
      result.metric_name = run.metric_name;
      result.higher_is_better = run.higher_is_better;
    }
    const json settings = settings_of(run);
    Entry& entry = entries[{label_key(run.method, run.lambda, run.bits), settings.dump()}];
    entry.settings = settings;
    entry.row.method = run.method;
    entry.row.lambda = run.lambda;
    entry.row.bits = run.bits;
    entry.row.starts_trained |= config_of(run).contains("start");
    (run.status == "done"     ? entry.row.done
     : run.status == "failed" ? entry.row.failed
                              : entry.row.pending)
        .push_back(run);
  }
  std::map<std::string, std::vector<Entry*>> methods;
  for (auto& [key, entry] : entries) methods[entry.row.method].push_back(&entry);
  for (const auto& [method, same_method] : methods) name_settings(same_method);
  for (auto& [key, entry] : entries) {
    summarise(entry.row);
    result.rows.push_back(std::move(entry.row));
  }
  return result;
}

}  // namespace

Spread spread_of(const std::vector<double>& values) {
  Spread result;
  double sum = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++result.count;
  }
  if (result.count == 0) return result;
  result.mean = sum / static_cast<double>(result.count);
  if (result.count == 1) return result;
  double squares = 0;
  for (const double value : values) {
    if (!std::isnan(value)) squares += (value - result.mean) * (value - result.mean);
  }
  result.deviation = std::sqrt(squares / static_cast<double>(result.count - 1));
  return result;
}

int knowledge_of(const RunRow& run) { return run.status == "done" ? 2 : run.status == "failed" ? 1 : 0; }

std::vector<RunRow> unique_runs(const std::vector<RunRow>& runs) {
  std::vector<RunRow> result;
  std::map<std::string, size_t> places;
  for (const RunRow& run : runs) {
    const auto [place, is_new] = places.emplace(run.run_id, result.size());
    if (is_new || run.run_id.empty()) {
      result.push_back(run);
    } else if (knowledge_of(run) > knowledge_of(result[place->second])) {
      result[place->second] = run;
    }
  }
  return result;
}

std::vector<Comparison> compare(const std::vector<RunRow>& runs) {
  std::vector<std::vector<RunRow>> groups;
  for (const RunRow& run : unique_runs(runs)) {
    const auto found = std::find_if(groups.begin(), groups.end(), [&](const std::vector<RunRow>& group) {
      return std::tie(group[0].benchmark, group[0].dataset, group[0].model) ==
             std::tie(run.benchmark, run.dataset, run.model);
    });
    (found == groups.end() ? groups.emplace_back() : *found).push_back(run);
  }
  std::vector<Comparison> result;
  for (const auto& group : groups) result.push_back(compare_one(group));
  return result;
}

std::string label(const ComparisonRow& row) {
  std::string text = !std::isnan(row.lambda) ? "λ " + shortest(row.lambda)
                     : !std::isnan(row.bits) ? shortest(row.bits) + (row.bits == 1 ? " bit" : " bits")
                                             : "–";
  if (row.setting.empty()) return text;
  return text == "–" ? row.setting : text + ", " + row.setting;
}

std::string fixed(double value, int decimals, bool with_sign) {
  if (std::isnan(value)) return "–";
  char buffer[400];
  std::string text(
      buffer, std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed, decimals).ptr);
  if (text.find_first_of("123456789i") == std::string::npos && text[0] == '-') text.erase(0, 1);  // no -0.00
  if (with_sign && text[0] != '-') text.insert(0, "+");
  return text;
}

int decimals_for(const std::vector<double>& values) {
  double smallest = HUGE_VAL;
  for (const double value : values) {
    if (std::isfinite(value) && value != 0) smallest = std::min(smallest, std::abs(value));
  }
  if (std::isinf(smallest)) return 2;
  return std::clamp(2 - static_cast<int>(std::floor(std::log10(smallest))), 1, 6);
}

}  // namespace diffq
