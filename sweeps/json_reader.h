#pragma once
// Strict reading of JSON that people write: // comments, keys in the order written, and one clear error a
// call that names the place ("SOURCE: benchmarks[0].methods[2].lamda: unknown key; did you mean
// \"lambda\"?"). Nothing is guessed: unknown and duplicate keys, unknown words, wrong types and values out of
// range all throw std::invalid_argument.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sweeps/words.h"

namespace diffq {

using OrderedJson = nlohmann::ordered_json;  // the order of axes is the order written

/// Where in a file something stands.
struct Place {
  std::string source;  ///< the file, or "--set KEY"
  std::string path;    ///< "benchmarks[0].train"; empty: the whole

  Place key(std::string_view name) const;
  Place index(size_t i) const;
  /// Throws std::invalid_argument "SOURCE: PATH: problem", on one line whatever the user wrote.
  [[noreturn]] void fail(const std::string& problem) const;
};

/// Parses all of `text`. Syntax errors name line and column (both from 1), duplicate keys their path; nesting
/// beyond 32 levels and NUL bytes are errors.
OrderedJson parse_json(const std::string& text, const std::string& source);

/// A whole number without a fraction, others as JSON writes them.
std::string number_text(double value);

/// The value as JSON for a message, cut when long.
std::string shown(const OrderedJson& value);

/// The candidate with the fewest edits from `word`; the first of several. `candidates` must not be empty.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "a, b, c"
std::string joined(const std::vector<std::string>& words);

/// What a number may be; open ends exclude the bound itself.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  static Range at_least(double low) { return {.low = low}; }
  static Range above(double low) { return {.low = low, .low_open = true}; }
  static Range between(double low, double high) { return {.low = low, .high = high}; }

  bool holds(double value) const;
  std::string text() const;  ///< " of at least 1", " from 1 to 15", " above 0 and at most 1", …
};

enum class Need { optional, required };

double to_real(const OrderedJson& value, const Place& place, const Range& range);
/// 3.0 passes as 3. Magnitudes beyond 2^53 are refused, so that every reader of JSON sees the same number.
int64_t to_whole(const OrderedJson& value, const Place& place, const Range& range);
/// A string that is not empty and holds no control characters.
std::string to_text(const OrderedJson& value, const Place& place);
/// Index into `words`.
size_t to_word(const OrderedJson& value, const Place& place, const std::vector<std::string>& words);
/// The list itself, after checking that it is one and not empty.
const OrderedJson& to_list(const OrderedJson& value, const Place& place);

/// Takes the keys of one object, remembers which, and refuses the others in finish(). A value's default is
/// what the variable holds before; it stays when the key is absent. The object must outlive the reader.
class ObjectReader {
 public:
  ObjectReader(const OrderedJson& object, Place place);

  const Place& place() const { return place_; }

  /// The value of a key, or nullptr when it is absent (an error when required).
  const OrderedJson* take(const std::string& key, Need need = Need::optional);

  void real(const std::string& key, double& value, const Range& range, Need need = Need::optional);
  void optional_real(const std::string& key, std::optional<double>& value,
                     const Range& range);  ///< null: none
  /// Refuses an object that has both keys.
  void excludes(const std::string& key, const std::string& other) const;
  void flag(const std::string& key, bool& value);
  void text(const std::string& key, std::string& value, Need need = Need::optional);
  void texts(const std::string& key, std::vector<std::string>& values);  ///< a list, possibly empty
  /// A list, possibly empty; each number is in the range.
  void wholes(const std::string& key, std::vector<int64_t>& values, const Range& range);

  template <class Integer>
  void whole(const std::string& key, Integer& value, const Range& range, Need need = Need::optional) {
    Range fitting = range;
    if constexpr (sizeof(Integer) < 8)
      fitting.high = std::min<double>(range.high, std::numeric_limits<Integer>::max());
    if (const OrderedJson* found = take(key, need))
      value = Integer(to_whole(*found, place_.key(key), fitting));
  }

  /// `table`: an array of (word, value) pairs, as kMethodNames.
  template <class Enum, class Table>
  void word(const std::string& key, Enum& value, const Table& table, Need need = Need::optional) {
    const OrderedJson* found = take(key, need);
    if (!found) return;
    value = table[to_word(*found, place_.key(key), words_of(table))].second;
  }

  /// Names what the object is (its method, its optimiser) and the keys that only others of its kind have, so
  /// that finish() can say "qat has no lambda; its keys are …".
  void set_kind(const std::string& kind, const std::vector<std::string>& keys_of_all_kinds);

  /// Refuses every key that was not taken.
  void finish() const;

 private:
  [[noreturn]] void refuse(const std::string& key, const std::vector<std::string>& valid) const;

  const OrderedJson& object_;
  Place place_;
  std::vector<std::string> taken_;
  std::string kind_;
  std::vector<std::string> keys_of_all_kinds_;
};

}  // namespace diffq
