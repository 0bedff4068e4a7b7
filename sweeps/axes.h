#pragma once
// Lists as values in a method entry are axes: the entry stands for all their combinations.

#include "sweeps/json_reader.h"

namespace diffq {

/// At most so many runs in a sweep: what is above is a mistake, and would exhaust the memory before it is
/// noticed.
inline constexpr size_t kMostRuns = 10000;

/// All combinations, the first key varying slowest. Throws for an empty axis, a value that is twice in one, a
/// list in a list, and too many combinations.
std::vector<OrderedJson> expand_axes(const OrderedJson& entry, const Place& place);

}  // namespace diffq
