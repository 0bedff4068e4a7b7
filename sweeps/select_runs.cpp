#include <charconv>
#include <functional>
#include <map>

#include "sweeps/json_reader.h"
#include "sweeps/sweep.h"
#include "sweeps/words.h"

namespace diffq {
namespace {

struct Field {
  std::vector<std::string> words;                   // empty: the field is a number
  std::function<std::string(const RunSpec&)> word;  // of a run
  std::function<std::optional<double>(const RunSpec&)>
      number;  // of a run; nothing where its method has no such key
};

Field word_field(std::vector<std::string> words, std::function<std::string(const RunSpec&)> word) {
  return {std::move(words), std::move(word), nullptr};
}

Field number_field(std::function<std::optional<double>(const RunSpec&)> number) {
  return {{}, nullptr, std::move(number)};
}

std::map<std::string, Field> make_fields() {
  const auto of_diffq = [](auto member) {
    return number_field([member](const RunSpec& spec) -> std::optional<double> {
      if (spec.method.method != Method::diffq) return std::nullopt;
      return double(spec.method.*member);
    });
  };
  return {
      {"method",
       word_field(words_of(kMethodNames), [](auto& s) { return word_of(s.method.method, kMethodNames); })},
      {"dataset", word_field(words_of(kDataNames), [](auto& s) { return word_of(s.data.name, kDataNames); })},
      {"model",
       word_field(words_of(kModelNames), [](auto& s) { return word_of(s.model.name, kModelNames); })},
      {"seed", number_field([](auto& s) { return double(s.seed); })},
      {"bits", number_field([](auto& s) {
         return s.method.bits ? std::optional<double>(s.method.bits) : std::nullopt;
       })},
      {"lambda", number_field([](auto& s) { return lambda_of(s.method); })},
      {"target_mb", number_field([](auto& s) {
         return s.method.target_mb > 0 ? std::optional<double>(s.method.target_mb) : std::nullopt;
       })},
      {"group_size", of_diffq(&MethodSpec::group_size)}};
}

// "method=lsq" -> which runs it keeps.
std::function<bool(const RunSpec&)> parse_condition(const std::string& condition) {
  const auto fields = make_fields();
  std::vector<std::string> names;
  for (const auto& [name, unused] : fields) names.push_back(name);

  const size_t equals = condition.find('=');
  const std::string name = condition.substr(0, equals);
  const Place place = Place{"--only", ""}.key(name);
  if (equals == std::string::npos) place.fail("has no '='; write --only field=value,field=value");
  if (!fields.contains(name))
    place.fail("unknown field; did you mean \"" + nearest(name, names) + "\"? The fields are " +
               joined(names));

  const Field& field = fields.at(name);
  const std::string value = condition.substr(equals + 1);
  if (!field.words.empty()) {
    const std::string word = field.words[to_word(value, place, field.words)];
    return [of = field.word, word](const RunSpec& spec) { return of(spec) == word; };
  }
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (value.empty() || error != std::errc() || end != value.data() + value.size())
    place.fail("must be a number, not " + shown(value));
  return [of = field.number, number](const RunSpec& spec) { return of(spec) == number; };
}

}  // namespace

std::vector<size_t> select_runs(const Sweep& sweep, const std::string& only) {
  std::vector<char> kept(sweep.runs.size(), !sweep.runs.empty());
  for (size_t from = 0; from <= only.size();) {
    const size_t comma = std::min(only.find(',', from), only.size());
    const auto holds = parse_condition(only.substr(from, comma - from));
    for (size_t i = 0; i < kept.size(); ++i) kept[i] = kept[i] && holds(sweep.runs[i].spec);
    from = comma + 1;
  }
  // A run comes after what it starts from, so one pass backwards reaches all of them.
  for (size_t i = kept.size(); i-- > 0;)
    if (kept[i] && sweep.runs[i].depends_on >= 0) kept[size_t(sweep.runs[i].depends_on)] = true;

  std::vector<size_t> selected;
  for (size_t i = 0; i < kept.size(); ++i)
    if (kept[i]) selected.push_back(i);
  if (selected.empty())
    Place{"--only " + only, ""}.fail("none of the " + std::to_string(kept.size()) +
                                     " runs is like that; see diffq plan");
  return selected;
}

std::vector<size_t> select_shard(const Sweep& sweep, const std::string& shard) {
  size_t index = 0, count = 0;
  const char* end = shard.data() + shard.size();
  const auto [slash, first] = std::from_chars(shard.data(), end, index);
  const bool split = first == std::errc() && slash != end && *slash == '/';
  if (!split || std::from_chars(slash + 1, end, count).ptr != end || index >= count)
    Place{"--shard " + shard, ""}.fail("must be i/N with i from 0 to N-1, such as 0/4");
  std::vector<size_t> selected;
  std::vector<char> kept(sweep.runs.size(), false);
  size_t chains = 0;  // runs that start from none, with all that starts from them
  for (size_t i = 0; i < sweep.runs.size(); ++i) {
    const int start = sweep.runs[i].depends_on;
    kept[i] = start < 0 ? chains++ % count == index : kept[size_t(start)];
    if (kept[i]) selected.push_back(i);
  }
  return selected;
}

Sweep part_of(Sweep sweep, const std::vector<size_t>& runs) {
  std::vector<Run> kept;
  std::map<int, int> places;  // of a run in `sweep`, in `kept`
  for (const size_t i : runs) {
    Run& run = kept.emplace_back(std::move(sweep.runs[i]));
    if (run.depends_on >= 0) run.depends_on = places.at(run.depends_on);
    places[int(i)] = int(kept.size()) - 1;
  }
  sweep.runs = std::move(kept);
  return sweep;
}

Sweep shard_of(Sweep sweep, const std::string& shard) {
  if (shard.empty()) return sweep;
  const std::vector<size_t> runs = select_shard(sweep, shard);
  return part_of(std::move(sweep), runs);
}

}  // namespace diffq
