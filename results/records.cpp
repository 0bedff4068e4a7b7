#include "results/records.h"

#include <set>
#include <stdexcept>

#include "results/columns.h"
#include "results/utf8.h"

namespace diffq {
namespace {

using nlohmann::json;

// JSON has no infinities either; as null they would come back as "not applicable".
constexpr const char* kInfinity = "Infinity";
constexpr const char* kMinusInfinity = "-Infinity";

json field_to_json(double value) {
  if (std::isnan(value)) return nullptr;
  if (std::isinf(value)) return value > 0 ? kInfinity : kMinusInfinity;
  return value;
}
json field_to_json(const std::string& value) { return valid_utf8(value); }
json field_to_json(int64_t value) { return value; }
json field_to_json(bool value) { return value; }

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::runtime_error("result record: " + where + ": " + what);
}

void field_from_json(const json& json, const std::string& where, std::string& value) {
  if (!json.is_string()) fail(where, "not a string");
  value = json.get<std::string>();
}
void field_from_json(const json& json, const std::string& where, double& value) {
  if (json.is_null()) {
    value = kNotApplicable;
  } else if (json == kInfinity || json == kMinusInfinity) {
    value = json == kInfinity ? HUGE_VAL : -HUGE_VAL;
  } else if (json.is_number()) {
    value = json.get<double>();
  } else {
    fail(where, "neither a number nor null");
  }
}
void field_from_json(const json& json, const std::string& where, int64_t& value) {
  const bool too_large = json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX};
  if (!json.is_number_integer() || too_large) fail(where, "not a whole number of 64 bits");
  value = json.get<int64_t>();
}
void field_from_json(const json& json, const std::string& where, bool& value) {
  if (!json.is_boolean()) fail(where, "neither true nor false");
  value = json.get<bool>();
}

/// Exactly these members, no others; `later` ones may be missing.
void check_members(const json& json, const std::string& where, const std::set<std::string>& names,
                   const std::set<std::string>& later = {}) {
  if (!json.is_object()) fail(where, "not an object");
  for (const std::string& name : names) {
    if (!json.contains(name) && !later.contains(name)) fail(where, "'" + name + "' is missing");
  }
  for (const auto& item : json.items()) {
    if (!names.contains(item.key())) fail(where, "unknown member '" + item.key() + "'");
  }
}

template <class Row>
json row_to_json(const Row& row) {
  json result = json::object();
  for (const Column<Row>& column : columns<Row>()) {
    result[column.name] = visit_field(row, column, [](const auto& value) { return field_to_json(value); });
  }
  return result;
}

template <class Row>
Row row_from_json(const json& json, const std::string& where) {
  std::set<std::string> names, later;
  for (const Column<Row>& column : columns<Row>()) {
    names.insert(column.name);
    if (column.later) later.insert(column.name);
  }
  check_members(json, where, names, later);
  Row row;
  for (const Column<Row>& column : columns<Row>()) {
    if (!json.contains(column.name)) continue;
    visit_field(row, column, [&](auto& value) {
      field_from_json(json.at(column.name), where + "." + column.name, value);
    });
  }
  return row;
}

template <class Row>
json rows_to_json(const std::vector<Row>& rows) {
  json result = json::array();
  for (const Row& row : rows) result.push_back(row_to_json(row));
  return result;
}

template <class Row>
std::vector<Row> rows_from_json(const json& json, const std::string& where) {
  if (!json.is_array()) fail(where, "not an array");
  std::vector<Row> rows;
  for (size_t i = 0; i < json.size(); ++i) {
    rows.push_back(row_from_json<Row>(json[i], where + "[" + std::to_string(i) + "]"));
  }
  return rows;
}

}  // namespace

json to_json(const RunRecord& record) {
  return {{"run", row_to_json(record.run)},
          {"epochs", rows_to_json(record.epochs)},
          {"layers", rows_to_json(record.layers)},
          {"tracks", rows_to_json(record.tracks)}};
}

RunRecord record_from_json(const json& json) {
  check_members(json, "record", {"run", "epochs", "layers", "tracks"});
  return {row_from_json<RunRow>(json.at("run"), "run"), rows_from_json<EpochRow>(json.at("epochs"), "epochs"),
          rows_from_json<LayerRow>(json.at("layers"), "layers"),
          rows_from_json<TrackRow>(json.at("tracks"), "tracks")};
}

}  // namespace diffq
