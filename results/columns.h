#pragma once
// The columns of the result tables, once: HDF5 tables, JSON and CSV are all written and read by these lists,
// in this order. A new column is a member in records.h and a line in columns.cpp.

#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "results/records.h"

namespace diffq {

/// One entry of a layer's histogram.
struct HistogramEntry {
  int64_t (LayerRow::*array)[16];
  size_t index;
};

template <class Row>
struct Column {
  using Scalar = std::variant<std::string Row::*, double Row::*, int64_t Row::*, bool Row::*>;
  using ScalarOrEntry = std::variant<std::string Row::*, double Row::*, int64_t Row::*, HistogramEntry>;
  std::string name;
  std::conditional_t<std::is_same_v<Row, LayerRow>, ScalarOrEntry, Scalar> member;
  bool later = false;  ///< not in files of earlier versions: there it has its default
};

template <class Row>
const std::vector<Column<Row>>& columns();
template <>
const std::vector<Column<RunRow>>& columns();
template <>
const std::vector<Column<EpochRow>>& columns();
template <>
const std::vector<Column<LayerRow>>& columns();
template <>
const std::vector<Column<TrackRow>>& columns();
template <>
const std::vector<Column<EnvironmentRow>>& columns();
template <>
const std::vector<Column<SweepRow>>& columns();

/// Calls function(reference to the row's member): std::string, double, int64_t or bool, const if the row is.
template <class Row, class Function>
decltype(auto) visit_field(Row& row, const Column<std::remove_const_t<Row>>& column,
                           const Function& function) {
  return std::visit(
      [&](auto member) -> decltype(auto) {
        if constexpr (std::is_same_v<decltype(member), HistogramEntry>) {
          return function((row.*member.array)[member.index]);
        } else {
          return function(row.*member);
        }
      },
      column.member);
}

}  // namespace diffq
