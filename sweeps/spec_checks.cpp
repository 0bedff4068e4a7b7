#include "quant/packed_tensor.h"
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

void check(const DataSpec& spec, const Place& place) {
  if (spec.text.context >= spec.text.block)
    place.key("context").fail("must be below block (" + std::to_string(spec.text.block) + "), not " +
                              std::to_string(spec.text.context));
  if (spec.text.unit == TextUnit::character && spec.text.line_ends)
    place.key("line_ends").fail("is for words; among characters the end of a line is one anyway");
}

void check(const ModelSpec& spec, const Place& place) {
  const TransformerSpec& transformer = spec.transformer;
  if (transformer.dim % 2 != 0 || transformer.dim % transformer.heads != 0)
    place.key("dim").fail("must be even and a multiple of heads (" + std::to_string(transformer.heads) +
                          "), not " + std::to_string(transformer.dim));
  int64_t shortest = transformer.dim, before = 0;
  for (size_t i = 0; i < transformer.cutoffs.size(); ++i) {
    const int64_t cutoff = transformer.cutoffs[i];
    if (cutoff <= before)
      place.key("cutoffs").index(i).fail("must be above the one before (" + std::to_string(before) +
                                         "), not " + std::to_string(cutoff));
    before = cutoff;
    shortest /= transformer.factor;
  }
  if (shortest < 1)
    place.key("cutoffs").fail("are so many that " + std::to_string(transformer.dim) + " divided by factor (" +
                              std::to_string(transformer.factor) + ") for each leaves less than 1");
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
  if (spec.method == Method::diffq && spec.min_bits == 0) {
    if (spec.parametrisation == Parametrisation::noise)
      place.key("min_bits").fail("can be 0 only with parametrisation \"bits\": no noise is that of 0 bits");
    if (spec.group_size < 1 || spec.group_size > kLongestVanishingGroup)
      place.key("min_bits")
          .fail("can be 0 only for groups of 1 to " + std::to_string(kLongestVanishingGroup) +
                " weights; group_size is " + std::to_string(spec.group_size));
  }
  if (spec.method != Method::diffq || (spec.min_bits < spec.init_bits && spec.init_bits < spec.max_bits))
    return;
  place.key("init_bits")
      .fail("must lie between min_bits and max_bits, but " + number_text(spec.min_bits) + " < " +
            number_text(spec.init_bits) + " < " + number_text(spec.max_bits) + " does not hold");
}

void check_benchmark(DataName data, ModelName model, const Place& place) {
  const BenchmarkName wanted = benchmark_name(data), given = benchmark_name(model);
  if (given == wanted) return;
  const auto fitting = [](const auto& table, BenchmarkName benchmark) {
    std::vector<std::string> words;
    for (const auto& [word, name] : table)
      if (benchmark_name(name) == benchmark) words.emplace_back(word);
    return joined(words);
  };
  place.key("model").key("name").fail(
      word_of(model, kModelNames) + " is a model for the benchmark " + word_of(given, kBenchmarkNames) +
      ", but data.name, " + word_of(data, kDataNames) + ", is for " + word_of(wanted, kBenchmarkNames) +
      "; models for it are " + fitting(kModelNames, wanted) + ", data for the model is " +
      fitting(kDataNames, given));
}

}  // namespace diffq
