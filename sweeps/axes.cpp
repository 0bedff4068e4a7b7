#include "sweeps/axes.h"

#include <algorithm>

namespace diffq {
namespace {

std::vector<OrderedJson> expand_list(const OrderedJson& axis, const Place& place) {
  std::vector<OrderedJson> alternatives;
  for (size_t i = 0; i < to_list(axis, place).size(); ++i) {
    if (axis[i].is_array()) place.index(i).fail("is a list in a list; write one flat list of values");
    const auto twice = std::find(axis.begin(), axis.begin() + std::ptrdiff_t(i), axis[i]);
    if (twice - axis.begin() < std::ptrdiff_t(i))
      place.index(i).fail(shown(axis[i]) + " is already " + place.index(size_t(twice - axis.begin())).path +
                          "; remove one of the two");
    for (auto& value : expand_axes(axis[i], place.index(i))) alternatives.push_back(std::move(value));
  }
  return alternatives;
}

std::vector<OrderedJson> expand_object(const OrderedJson& object, const Place& place) {
  std::vector<OrderedJson> combinations{OrderedJson::object()};
  for (const auto& [key, value] : object.items()) {
    const auto alternatives = expand_axes(value, place.key(key));
    if (combinations.size() * alternatives.size() > kMostRuns)
      place.fail("stands for more than " + std::to_string(kMostRuns) + " runs; shorten its lists");
    std::vector<OrderedJson> longer;
    for (const auto& combination : combinations)
      for (const auto& alternative : alternatives) {
        longer.push_back(combination);
        longer.back()[key] = alternative;
      }
    combinations = std::move(longer);
  }
  return combinations;
}

}  // namespace

std::vector<OrderedJson> expand_axes(const OrderedJson& entry, const Place& place) {
  if (entry.is_object()) return expand_object(entry, place);
  if (entry.is_array()) return expand_list(entry, place);
  return {entry};
}

}  // namespace diffq
