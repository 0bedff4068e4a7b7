#pragma once
// The keys of every specification, each listed once: the same list reads a sweep file (SpecReader) and writes
// the canonical specification (SpecWriter), so that what is written always reads back, and nothing is
// forgotten in a run id.

#include <algorithm>
#include <cmath>

#include "sweeps/json_reader.h"
#include "trainer/run_spec.h"

namespace diffq {

/// Whole settings become integers, real ones doubles, whatever the user typed (1 and 1.0 are one setting).
class SpecWriter {
 public:
  nlohmann::json json = nlohmann::json::object();
  std::vector<std::string> keys;  ///< in order

  void real(const std::string& key, double value, const Range&, Need = Need::optional) { put(key, value); }
  /// Keys that came after run ids were promised: at their default (0, the usual, the first word) they are
  /// left out, so that runs keep their ids.
  void later_real(const std::string& key, double value, const Range&) {
    if (value != 0) put(key, value);
    keys.push_back(key);
  }
  void later_whole(const std::string& key, int64_t value, int64_t usual, const Range&) {
    if (value != usual) put(key, value);
    keys.push_back(key);
  }
  template <class Enum, class Table>
  void later_word(const std::string& key, Enum value, const Table& table) {
    if (value != table[0].second) put(key, word_of(value, table));
    keys.push_back(key);
  }
  void later_flag(const std::string& key, bool value) {
    if (value) put(key, value);
    keys.push_back(key);
  }
  void excludes(const std::string&, const std::string&) {}
  /// Other keys say what it stands for.
  void preset(const std::string& key, MethodSpec&) { keys.push_back(key); }
  void optional_real(const std::string& key, const std::optional<double>& value, const Range&) {
    put(key, value ? nlohmann::json(*value) : nlohmann::json());
  }
  void flag(const std::string& key, bool value) { put(key, value); }
  void text(const std::string& key, const std::string& value, Need = Need::optional) { put(key, value); }
  void texts(const std::string& key, const std::vector<std::string>& values) { put(key, values); }
  void wholes(const std::string& key, const std::vector<int64_t>& values, const Range&) { put(key, values); }
  void start(const std::string& key, const std::string& value) {
    put(key, value.empty() ? nlohmann::json() : nlohmann::json(value));
  }
  void whole(const std::string& key, int64_t value, const Range&, Need = Need::optional) { put(key, value); }
  template <class Enum, class Table>
  void word(const std::string& key, Enum value, const Table& table, Need = Need::optional) {
    put(key, word_of(value, table));
  }
  template <class Spec, class Enum, class Table>
  void kind(const std::string& key, Spec& spec, Enum Spec::*member, const Table& table,
            Need = Need::optional) {
    word(key, spec.*member, table);
  }
  template <class Spec>
  void object(const std::string& key, Spec& spec) {
    SpecWriter child;
    list_keys(child, spec);
    put(key, std::move(child.json));
  }

 private:
  void put(const std::string& key, nlohmann::json value) {
    json[key] = std::move(value);
    keys.push_back(key);
  }
};

class SpecReader : public ObjectReader {
 public:
  using ObjectReader::ObjectReader;

  /// A word that decides which other keys there are.
  template <class Spec, class Enum, class Table>
  void kind(const std::string& key, Spec& spec, Enum Spec::*member, const Table& table,
            Need need = Need::optional) {
    word(key, spec.*member, table, need);
    std::vector<std::string> all;
    for (const auto& [unused, value] : table) {
      Spec other;
      other.*member = value;
      SpecWriter writer;
      list_keys(writer, other);
      all.insert(all.end(), writer.keys.begin(), writer.keys.end());
    }
    set_kind(word_of(spec.*member, table), all);
  }

  void later_real(const std::string& key, double& value, const Range& range) { real(key, value, range); }

  void later_whole(const std::string& key, int64_t& value, int64_t, const Range& range) {
    whole(key, value, range);
  }
  template <class Enum, class Table>
  void later_word(const std::string& key, Enum& value, const Table& table) {
    word(key, value, table);
  }

  void later_flag(const std::string& key, bool& value) { flag(key, value); }

  /// Sets what the word stands for; keys that are read after it can change that.
  void preset(const std::string& key, MethodSpec& method) {
    Preset preset = Preset::published;
    word(key, preset, kPresetNames);
    apply_preset(preset, method);
  }

  /// null, "fp32", or the path of a safetensors file.
  void start(const std::string& key, std::string& value);

  template <class Spec>
  void object(const std::string& key, Spec& spec, Need need = Need::optional) {
    static const OrderedJson kEmpty = OrderedJson::object();
    const OrderedJson* found = take(key, need);
    SpecReader child(found ? *found : kEmpty, place().key(key));
    list_keys(child, spec);
    child.finish();
    check(spec, child.place());
  }
};

// What one key alone can't say. Each throws as Place::fail does.
template <class Spec>
void check(const Spec&, const Place&) {}
void check(const DataSpec& spec, const Place& place);
void check(const ModelSpec& spec, const Place& place);
void check(const OptimizerSpec& spec, const Place& place);
void check(const TrainSpec& spec, const Place& place);
void check(const MusicAugmentSpec& spec, const Place& place);
void check(const MethodSpec& spec, const Place& place);
/// That data and model are for the same benchmark. Names both, and the words that would fit.
void check_benchmark(DataName data, ModelName model, const Place& place);

template <class Keys>
void list_keys(Keys& keys, AugmentSpec& spec) {
  keys.whole("shift", spec.shift, Range::at_least(0));
  keys.whole("crop", spec.crop, Range::at_least(0));
  keys.flag("flip", spec.flip);
}

template <class Keys>
void list_keys(Keys& keys, PhotoSpec& spec) {
  keys.flag("random_resized_crop", spec.random_resized_crop);
  keys.flag("flip", spec.flip);
  keys.whole("resize", spec.resize, Range::between(1, 16384));
  keys.whole("crop", spec.crop, Range::between(1, 16384));
  keys.later_word("interpolation", spec.interpolation, kInterpolationNames);
  keys.later_real("rand_augment", spec.rand_augment, Range::between(0, 10));
  keys.later_real("random_erasing", spec.random_erasing, Range::between(0, 1));
  keys.later_whole("repeats", spec.repeats, 1, Range::between(1, 16));
}

template <class Keys>
void list_keys(Keys& keys, MusicAugmentSpec& spec) {
  keys.flag("shift", spec.shift);
  keys.flag("flip_channels", spec.flip_channels);
  keys.flag("flip_sign", spec.flip_sign);
  keys.real("min_gain", spec.min_gain, Range::at_least(0));
  keys.real("max_gain", spec.max_gain, Range::at_least(0));
  keys.whole("remix_group", spec.remix_group, Range::at_least(1));
}

template <class Keys>
void list_keys(Keys& keys, MusicSpec& spec) {
  keys.whole("rate", spec.rate, Range::between(1000, 192000));
  keys.whole("channels", spec.channels, Range::between(1, 64));
  keys.real("segment_seconds", spec.segment_seconds, {.low = 0, .high = 600, .low_open = true});
  keys.real("stride_seconds", spec.stride_seconds, {.low = 0, .high = 600, .low_open = true});
  keys.whole("train_segments", spec.train_segments, Range::at_least(0));
  keys.whole("valid_segments", spec.valid_segments, Range::at_least(0));
  keys.whole("test_tracks", spec.test_tracks, Range::at_least(0));
  keys.object("augment", spec.augment);
}

template <class Keys>
void list_keys(Keys& keys, DataSpec& spec) {
  keys.kind("name", spec, &DataSpec::name, kDataNames, Need::required);
  keys.text("root", spec.root, Need::required);
  if (benchmark_name(spec.name) == BenchmarkName::audio) {
    list_keys(keys, spec.music);
    keys.whole("workers", spec.workers, Range::between(1, 1024));
    return;
  }
  const bool language = benchmark_name(spec.name) == BenchmarkName::language;
  keys.whole("train_samples", spec.train_samples, Range::at_least(0));
  if (!language) keys.whole("valid_samples", spec.valid_samples, Range::at_least(1));
  keys.whole("test_samples", spec.test_samples, Range::at_least(0));
  if (language) {
    if (spec.name == DataName::text) {
      keys.word("unit", spec.text.unit, kTextUnitNames);
      keys.whole("vocabulary", spec.text.vocabulary, Range::at_least(0));
      keys.flag("line_ends", spec.text.line_ends);
    }
    keys.whole("block", spec.text.block, Range::between(1, 1 << 20));
    keys.whole("context", spec.text.context, Range::between(0, (1 << 20) - 1));
  } else if (spec.name == DataName::imagenet) {
    keys.object("augment", spec.photos);
    keys.whole("max_corrupt", spec.max_corrupt, Range::at_least(0));
  } else {
    keys.object("augment", spec.augment);
  }
  keys.whole("workers", spec.workers, Range::between(1, 1024));
}

template <class Keys>
void list_keys(Keys& keys, TransformerSpec& spec) {
  const Range size = Range::between(1, 1 << 20), rate{.low = 0, .high = 1, .high_open = true};
  keys.whole("layers", spec.layers, size);
  keys.whole("dim", spec.dim, size);
  keys.whole("ffn", spec.ffn, size);
  keys.whole("heads", spec.heads, size);
  keys.wholes("cutoffs", spec.cutoffs, Range::at_least(1));
  keys.whole("factor", spec.factor, size);
  keys.real("attention_dropout", spec.attention_dropout, rate);
  keys.real("activation_dropout", spec.activation_dropout, rate);
  keys.real("softmax_dropout", spec.softmax_dropout, rate);
  keys.real("layer_drop", spec.layer_drop, rate);
}

template <class Keys>
void list_keys(Keys& keys, ModelSpec& spec) {
  keys.kind("name", spec, &ModelSpec::name, kModelNames, Need::required);
  if (spec.name == ModelName::small_cnn) keys.flag("batchnorm", spec.batchnorm);
  if (spec.name == ModelName::demucs) {
    keys.whole("channels", spec.demucs.channels, Range::between(1, 1024));
    keys.whole("depth", spec.demucs.depth, Range::between(1, 8));
  }
  const auto rate = [&](const std::string& key, std::optional<double>& value, std::optional<double> usual) {
    if (!usual) return;
    value = value.value_or(*usual);
    keys.real(key, *value, {.low = 0, .high = 1, .high_open = true});
  };
  const DropRates usual = usual_rates(spec.name);
  rate("dropout", spec.rates.dropout, usual.dropout);
  rate("drop_path", spec.rates.drop_path, usual.drop_path);
  if (spec.name == ModelName::transformer_lm) list_keys(keys, spec.transformer);
}

template <class Keys>
void list_keys(Keys& keys, OptimizerSpec& spec) {
  const Range decay{.low = 0, .high = 1, .high_open = true};
  keys.kind("name", spec, &OptimizerSpec::name, kOptimizerNames);
  keys.real("lr", spec.lr, Range::at_least(0));
  keys.real("weight_decay", spec.weight_decay, Range::at_least(0));
  if (is_sgd(spec.name)) {
    keys.real("momentum", spec.momentum, decay);
    if (spec.name == OptimizerName::sgd) keys.flag("nesterov", spec.nesterov);
  } else {
    keys.real("beta1", spec.beta1, decay);
    keys.real("beta2", spec.beta2, decay);
    keys.real("epsilon", spec.epsilon, Range::above(0));
  }
}

template <class Keys>
void list_keys(Keys& keys, ScheduleSpec& spec) {
  keys.kind("name", spec, &ScheduleSpec::name, kScheduleNames);
  if (spec.name == ScheduleName::cosine_restarts) {
    keys.whole("warmup_steps", spec.warmup_steps, Range::at_least(0));
    keys.whole("period_steps", spec.period_steps, Range::at_least(1), Need::required);
    keys.real("shrink", spec.shrink, {.low = 0, .high = 1, .low_open = true});
  } else {
    keys.real("warmup_epochs", spec.warmup_epochs, Range::at_least(0));
  }
  if (spec.name == ScheduleName::step) {
    keys.whole("every_epochs", spec.every_epochs, Range::at_least(1));
    keys.real("factor", spec.factor, {.low = 0, .high = 1, .low_open = true});
  }
}

template <class Keys>
void list_keys(Keys& keys, TrainSpec& spec) {
  keys.whole("epochs", spec.epochs, Range::at_least(1));
  keys.whole("batch_size", spec.batch_size, Range::at_least(1));
  keys.whole("accumulate_steps", spec.accumulate_steps, Range::at_least(1));
  keys.object("optimizer", spec.optimizer);
  keys.object("schedule", spec.schedule);
  keys.real("max_grad_norm", spec.max_grad_norm, Range::at_least(0));
  keys.whole("max_skipped_steps", spec.max_skipped_steps, Range::at_least(1));
  keys.word("precision", spec.precision, kPrecisionNames);
  keys.later_word("algorithms", spec.algorithms, kAlgorithmsNames);
  keys.later_flag("cuda_graph", spec.cuda_graph);
  keys.later_real("label_smoothing", spec.label_smoothing, {.low = 0, .high = 1, .high_open = true});
  keys.later_real("mixup", spec.mix.mixup, Range::between(0, 4));
  keys.later_real("cutmix", spec.mix.cutmix, Range::between(0, 4));
  keys.later_real("ema", spec.ema, {.low = 0, .high = 1, .high_open = true});
  keys.later_whole("first_bucket_mb", spec.first_bucket_mb, 1, Range::between(1, 4096));
  keys.later_whole("bucket_mb", spec.bucket_mb, 25, Range::between(1, 4096));
  keys.later_whole("rank_check_steps", spec.rank_check_steps, 100, Range::at_least(0));
  keys.real("checkpoint_minutes", spec.checkpoint_minutes, Range::above(0));
}

template <class Keys>
void list_keys(Keys& keys, EvalSpec& spec) {
  keys.whole("batch_size", spec.batch_size, Range::at_least(1));
  keys.later_whole("recalibrate_batchnorm", spec.recalibrate_batchnorm, 0, Range::at_least(0));
  if (spec.separation) {
    keys.whole("shifts", spec.separation->shifts, Range::between(1, 100));
    keys.real("overlap", spec.separation->overlap, {.low = 0, .high = 1, .high_open = true});
  }
}

template <class Keys>
void list_keys(Keys& keys, QuantSpec& spec) {
  keys.real("min_size_mb", spec.min_size_mb, Range::at_least(0));
  keys.texts("exclude", spec.exclude);
  keys.flag("float16", spec.float16);
}

template <class Keys>
void list_keys(Keys& keys, MethodSpec& spec) {
  keys.kind("method", spec, &MethodSpec::method, kMethodNames, Need::required);
  const bool lsq = spec.method == Method::lsq;
  if (lsq || spec.method == Method::ptq || spec.method == Method::qat)
    keys.whole("bits", spec.bits, Range::between(lsq ? 2 : 1, 15), Need::required);
  if (spec.method == Method::ptq) keys.word("clip", spec.clip, kClipNames);
  if (spec.method == Method::diffq) {
    keys.preset("preset", spec);
    keys.excludes("target_mb", "lambda");
    keys.later_real("target_mb", spec.target_mb, Range::above(0));
    if (spec.target_mb == 0) keys.real("lambda", spec.lambda, Range::at_least(0), Need::required);
    keys.whole("group_size", spec.group_size, Range::at_least(0));
    keys.word("noise", spec.noise, kNoiseKindNames);
    keys.word("parametrisation", spec.parametrisation, kParametrisationNames);
    keys.real("min_bits", spec.min_bits, Range::at_least(0));
    keys.real("init_bits", spec.init_bits, Range::above(0));
    keys.real("max_bits", spec.max_bits, {.low = 0, .high = 15, .low_open = true});
    keys.real("bits_lr", spec.bits_lr, Range::above(0));
    keys.word("rank_noise", spec.rank_noise, kRankNoiseNames);
    keys.later_word("clip", spec.clip, kClipNames);
    keys.later_word("range", spec.range, kRangeNames);
    keys.later_real("frozen", spec.frozen, {.low = 0, .high = 1, .high_open = true});
  }
  if (spec.method == Method::qat || spec.method == Method::lsq || spec.method == Method::diffq)
    keys.start("start", spec.start);
  if (lsq) keys.optional_real("scale_lr", spec.scale_lr, Range::at_least(0));
}

/// The canonical form of a specification: every default written out, only the keys that its kind has.
template <class Spec>
nlohmann::json write_spec(Spec spec) {
  SpecWriter writer;
  list_keys(writer, spec);
  return std::move(writer.json);
}

}  // namespace diffq
