#pragma once
// --set: one value of a sweep file replaced, before anything is checked.

#include "sweeps/json_reader.h"

namespace diffq {

/// `setting`: "benchmarks.0.train.epochs=1", a path of keys and indices, and JSON. The last key may be new,
/// what leads to it must be there. Text that neither is JSON nor looks like it is a string:
/// "benchmarks.0.data.root=/data".
void apply_override(OrderedJson& sweep, const std::string& setting);

}  // namespace diffq
