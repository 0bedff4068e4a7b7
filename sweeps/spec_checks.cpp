#include "sweeps/spec_keys.h"

namespace diffq {

void SpecReader::start(const std::string& key, std::string& value) {
  const OrderedJson* found = take(key);
  if (!found || found->is_null()) return;
  const Place at = place().key(key);
  value = to_text(*found, at);
  if (value != "fp32" && !value.ends_with(".safetensors"))
    at.fail("must be \"fp32\" or the path of a .safetensors file, not " + shown(*found));
}

void check(const OptimizerSpec& spec, const Place& place) {
  if (spec.name == OptimizerName::sgd && spec.nesterov && spec.momentum == 0)
    place.key("nesterov").fail("needs a momentum above 0; set one, or nesterov to false");
}

void check(const TrainSpec& spec, const Place& place) {
  if (spec.schedule.warmup_epochs > 0 && spec.schedule.warmup_epochs >= double(spec.epochs))
    place.key("schedule")
        .key("warmup_epochs")
        .fail("must be below epochs (" + std::to_string(spec.epochs) + "), not " +
              number_text(spec.schedule.warmup_epochs));
}

void check(const MusicAugmentSpec& spec, const Place& place) {
  if (spec.min_gain > spec.max_gain)
    place.key("min_gain")
        .fail("must not be above max_gain (" + number_text(spec.max_gain) + "), but is " +
              number_text(spec.min_gain));
}

void check(const MethodSpec& spec, const Place& place) {
  if (spec.method != Method::diffq || (spec.min_bits < spec.init_bits && spec.init_bits < spec.max_bits))
    return;
  place.key("init_bits")
      .fail("must lie between min_bits and max_bits, but " + number_text(spec.min_bits) + " < " +
            number_text(spec.init_bits) + " < " + number_text(spec.max_bits) + " does not hold");
}

}  // namespace diffq
