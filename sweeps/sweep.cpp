#include "sweeps/sweep.h"

#include <cmath>

#include "sweeps/axes.h"
#include "sweeps/front.h"
#include "sweeps/overrides.h"
#include "sweeps/runs.h"
#include "sweeps/spec_keys.h"

namespace diffq {
namespace {

std::vector<uint64_t> read_seeds(const OrderedJson& list, const Place& place) {
  std::vector<uint64_t> seeds;
  for (size_t i = 0; i < to_list(list, place).size(); ++i) {
    const auto seed = uint64_t(to_whole(list[i], place.index(i), Range::at_least(0)));
    for (size_t j = 0; j < i; ++j)
      if (seeds[j] == seed)
        place.index(i).fail(std::to_string(seed) + " is already " + place.index(j).path +
                            "; remove one of the two");
    seeds.push_back(seed);
  }
  return seeds;
}

// A method's settings laid over the benchmark's. An object of another name (adam over sgd) replaces the whole
// object: the keys of the other kind mean nothing to it, nor does its learning rate.
void lay_over(OrderedJson& base, const OrderedJson& changes) {
  const bool other_kind = base.is_object() && changes.is_object() && changes.contains("name") &&
                          base.contains("name") && changes["name"] != base["name"];
  if (!base.is_object() || !changes.is_object() || other_kind) {
    base = changes;
    return;
  }
  for (const auto& [key, value] : changes.items()) lay_over(base[key], value);
}

void check_batch(const TrainSpec& train, const Place& place, int ranks_per_run) {
  // As doubles: the product of two valid settings may exceed 2^63, and is then no divisor of the batch
  // either.
  const auto batch = double(train.batch_size);
  const double parts = double(train.accumulate_steps) * ranks_per_run;
  if (std::fmod(batch, parts) == 0) return;
  const double below = std::floor(batch / parts) * parts;
  place.key("batch_size")
      .fail("must be a multiple of ranks_per_run (" + std::to_string(ranks_per_run) +
            ") times accumulate_steps (" + std::to_string(train.accumulate_steps) + "), not " +
            std::to_string(train.batch_size) + "; " + (below > 0 ? number_text(below) + " or " : "") +
            number_text(below + parts) + " would do");
}

// Pairs that are mixed must not be cut by ranks or micro-batches.
void check_pairs(const TrainSpec& train, const Place& place, int ranks_per_run) {
  const int64_t part = train.batch_size / (train.accumulate_steps * ranks_per_run);
  if (!train.mix.mixes() || part % 2 == 0) return;
  place.key("batch_size")
      .fail("leaves " + std::to_string(part) +
            " samples a rank and micro-batch, of which mixup and cutmix mix pairs; " +
            std::to_string(2 * train.batch_size) + " would do");
}

// A language model's loss waits in every step to learn how many tokens are frequent; of Demucs it is not
// known whether all can be recorded.
void check_graph(const TrainSpec& train, const Place& place, ModelName model) {
  if (train.cuda_graph && benchmark_name(model) != BenchmarkName::image)
    place.key("cuda_graph").fail("is for pictures; leave it out for " + word_of(model, kModelNames));
}

TrainSpec read_train(const OrderedJson& json, const Place& place, int ranks_per_run, ModelName model) {
  TrainSpec train;
  SpecReader reader(json, place);
  list_keys(reader, train);
  reader.finish();
  check(train, place);
  check_batch(train, place, ranks_per_run);
  check_pairs(train, place, ranks_per_run);
  check_graph(train, place, model);
  return train;
}

// A front is a list of targets. Returns whether there is one.
bool expand_front(OrderedJson& entry, const Place& entry_place) {
  if (!entry.contains("front")) return false;
  const Place place = entry_place.key("front");
  if (!entry.contains("method") || entry["method"] != "diffq") place.fail("is for diffq alone");
  for (const char* other : {"lambda", "target_mb"})
    if (entry.contains(other))
      place.fail("takes the place of " + std::string(other) + "; give one of the two");
  const OrderedJson written = entry["front"];
  FrontSpec front;
  ObjectReader reader(written, place);
  reader.whole("points", front.points, Range::between(2, 1000));
  reader.real("from_mb", front.from_mb, Range::above(0), Need::required);
  reader.real("to_mb", front.to_mb, Range::above(0), Need::required);
  reader.finish();
  if (front.from_mb >= front.to_mb)
    place.key("to_mb").fail("must be above from_mb (" + number_text(front.from_mb) + "), not " +
                            number_text(front.to_mb));
  entry.erase("front");
  entry["target_mb"] = front_targets(front);
  return true;
}

class BenchmarkReader {
 public:
  BenchmarkReader(const OrderedJson& json, const Place& place, const std::vector<uint64_t>& seeds,
                  int ranks_per_run)
      : reader_(json, place), ranks_per_run_(ranks_per_run) {
    benchmark_.seeds = seeds;
  }

  Benchmark read() {
    const Place& place = reader_.place();
    if (const OrderedJson* seeds = reader_.take("seeds"))
      benchmark_.seeds = read_seeds(*seeds, place.key("seeds"));
    reader_.object("data", base_.data, Need::required);
    reader_.object("model", base_.model, Need::required);
    check_benchmark(base_.data.name, base_.model.name, place);
    const OrderedJson* train = reader_.take("train");
    base_.train = read_train(train ? *train : OrderedJson::object(), place.key("train"), ranks_per_run_,
                             base_.model.name);
    base_.eval = usual_evaluation(base_.data);
    reader_.object("eval", base_.eval);
    reader_.object("quant", base_.quant);
    const OrderedJson& methods = to_list(*reader_.take("methods", Need::required), place.key("methods"));
    reader_.finish();
    for (size_t i = 0; i < methods.size(); ++i) read_entry(methods[i], place.key("methods").index(i));
    benchmark_.place = place;
    benchmark_.base = base_;
    return std::move(benchmark_);
  }

 private:
  void read_entry(const OrderedJson& entry, const Place& place) {
    if (!entry.is_object()) place.fail("must be an object {...}, not " + shown(entry));
    OrderedJson written = entry;
    const bool of_front = expand_front(written, place);
    for (const OrderedJson& single : expand_axes(written, place))
      benchmark_.methods.push_back({read_single(single, place), place, of_front});
  }

  RunSpec read_single(const OrderedJson& entry, const Place& place) {
    RunSpec spec = base_;
    SpecReader reader(entry, place);
    list_keys(reader, spec.method);
    const OrderedJson* changes = spec.method.method == Method::ptq ? nullptr : reader.take("train");
    if (spec.method.method == Method::ptq) {
      if (entry.contains("train")) place.key("train").fail("ptq trains nothing; remove it, or use qat");
      spec.method.start = "fp32";
      spec.train.epochs = 0;
    }
    reader.finish();
    check(spec.method, place);
    if (changes) {
      if (!changes->is_object()) place.key("train").fail("must be an object {...}, not " + shown(*changes));
      OrderedJson merged = write_spec(base_.train);
      lay_over(merged, *changes);
      spec.train = read_train(merged, place.key("train"), ranks_per_run_, base_.model.name);
    }
    if (spec.data.train_samples > 0 && spec.data.train_samples < spec.train.batch_size)
      reader_.place()
          .key("data")
          .key("train_samples")
          .fail("must be at least the batch_size of " + place.path + " (" +
                std::to_string(spec.train.batch_size) + "), or 0 for all, not " +
                std::to_string(spec.data.train_samples));
    return spec;
  }

  SpecReader reader_;
  RunSpec base_;
  Benchmark benchmark_;
  int ranks_per_run_;
};

}  // namespace

Sweep read_sweep(const std::string& text, const std::string& source,
                 const std::vector<std::string>& overrides, const Fingerprints& fingerprints) {
  OrderedJson json = parse_json(text, source);
  const Place top{source, ""};
  if (!json.is_object()) top.fail("must be an object {...}, not " + shown(json));
  for (const auto& setting : overrides) apply_override(json, setting);

  Sweep sweep;
  ObjectReader reader(json, top);
  reader.text("sweep", sweep.name, Need::required);
  reader.whole("ranks_per_run", sweep.ranks_per_run, Range::between(1, 65536));
  std::vector<uint64_t> seeds{1};
  if (const OrderedJson* list = reader.take("seeds")) seeds = read_seeds(*list, top.key("seeds"));
  const OrderedJson& list = to_list(*reader.take("benchmarks", Need::required), top.key("benchmarks"));
  reader.finish();

  std::vector<Benchmark> benchmarks;
  for (size_t i = 0; i < list.size(); ++i)
    benchmarks.push_back(
        BenchmarkReader(list[i], top.key("benchmarks").index(i), seeds, sweep.ranks_per_run).read());
  sweep.runs = make_runs(benchmarks, sweep.ranks_per_run, fingerprints);
  sweep.resolved = resolve(sweep, benchmarks);
  return sweep;
}

RunSpec read_model_config(const std::string& config, const std::string& source) {
  const OrderedJson json = parse_json(config, source);
  const Place top{source, "config"};
  if (!json.is_object()) top.fail("must be an object {...}, not " + shown(json));
  RunSpec spec;
  SpecReader reader(json, top);
  reader.object("data", spec.data, Need::required);
  reader.object("model", spec.model, Need::required);
  reader.object("train", spec.train);
  spec.eval = usual_evaluation(spec.data);
  reader.object("eval", spec.eval);
  reader.object("quant", spec.quant);
  reader.object("method", spec.method, Need::required);
  reader.whole("seed", spec.seed, Range::at_least(0));
  for (const char* known : {"ranks_per_run", "data_fingerprint", "start", "run_id"}) reader.take(known);
  reader.finish();
  return spec;
}

}  // namespace diffq
