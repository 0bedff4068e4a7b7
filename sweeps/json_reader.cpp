#include "sweeps/json_reader.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace diffq {
namespace {

constexpr size_t kLongestShown = 60;
constexpr size_t kLongestMessage = 600;
constexpr double kLargestWhole = 9007199254740992.0;  // 2^53

// One line, printable: what the user wrote may hold anything.
std::string printable(std::string_view text, size_t longest) {
  std::string out;
  for (const char c : text.substr(0, longest)) out += (c >= 0 && c < 0x20) || c == 0x7f ? '?' : c;
  if (text.size() > longest) {
    while (!out.empty() && (out.back() & 0xC0) == 0x80) out.pop_back();  // not half of a UTF-8 character
    if (!out.empty() && (out.back() & 0x80)) out.pop_back();
    out += "...";
  }
  return out;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

Place Place::key(std::string_view name) const {
  return {source, path + (path.empty() ? "" : ".") + printable(name, kLongestShown)};
}

Place Place::index(size_t i) const { return {source, path + "[" + std::to_string(i) + "]"}; }

void Place::fail(const std::string& problem) const {
  throw std::invalid_argument(printable(source, kLongestMessage) + ": " + (path.empty() ? "" : path + ": ") +
                              printable(problem, kLongestMessage));
}

std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < kLargestWhole ? std::to_string(int64_t(value))
                                                                       : nlohmann::json(value).dump();
}

std::string shown(const OrderedJson& value) {
  return printable(value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace), kLongestShown);
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  word = word.substr(0, kLongestShown);  // bounds the time for megabytes of key
  return *std::min_element(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
    return edit_distance(word, a) < edit_distance(word, b);
  });
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

bool Range::holds(double value) const {
  return (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
}

std::string Range::text() const {
  const bool has_low = std::isfinite(low), has_high = std::isfinite(high);
  if (has_low && has_high && !low_open && !high_open)
    return " from " + number_text(low) + " to " + number_text(high);
  std::string out;
  if (has_low) out += (low_open ? " above " : " of at least ") + number_text(low);
  if (has_low && has_high) out += " and";
  if (has_high) out += (high_open ? " below " : " at most ") + number_text(high);
  return out;
}

double to_real(const OrderedJson& value, const Place& place, const Range& range) {
  if (value.is_number()) {
    const double number = value.get<double>() + 0.0;  // -0.0 becomes 0.0: one setting, one run id
    if (range.holds(number)) return number;
  }
  place.fail("must be a number" + range.text() + ", not " + shown(value));
}

int64_t to_whole(const OrderedJson& value, const Place& place, const Range& range) {
  if (value.is_number()) {
    const double number = value.get<double>();
    if (number == std::floor(number) && range.holds(number)) {
      if (std::abs(number) < kLargestWhole) return int64_t(number);
      place.fail("must be below 2^53 in size, not " + shown(value));
    }
  }
  place.fail("must be a whole number" + range.text() + ", not " + shown(value));
}

std::string to_text(const OrderedJson& value, const Place& place) {
  if (!value.is_string()) place.fail("must be a string, not " + shown(value));
  auto text = value.get<std::string>();
  if (text.empty()) place.fail("must not be empty");
  for (const unsigned char c : text)
    if (c < 0x20 || c == 0x7f) place.fail("must not hold control characters, not " + shown(value));
  return text;
}

size_t to_word(const OrderedJson& value, const Place& place, const std::vector<std::string>& words) {
  if (!value.is_string()) place.fail("must be one of the words " + joined(words) + ", not " + shown(value));
  const auto& word = value.get_ref<const std::string&>();
  const auto found = std::find(words.begin(), words.end(), word);
  if (found != words.end()) return size_t(found - words.begin());
  place.fail("unknown word " + shown(value) + "; did you mean \"" + nearest(word, words) +
             "\"? The words are " + joined(words));
}

const OrderedJson& to_list(const OrderedJson& value, const Place& place) {
  if (!value.is_array()) place.fail("must be a list, not " + shown(value));
  if (value.empty()) place.fail("is an empty list; give at least one entry");
  return value;
}

ObjectReader::ObjectReader(const OrderedJson& object, Place place)
    : object_(object), place_(std::move(place)) {
  if (!object_.is_object()) place_.fail("must be an object {...}, not " + shown(object_));
}

const OrderedJson* ObjectReader::take(const std::string& key, Need need) {
  taken_.push_back(key);
  const auto found = object_.find(key);
  if (found != object_.end()) return &*found;
  if (need == Need::required) {
    // A misspelt key is the better explanation of a missing one.
    for (const auto& [name, unused] : object_.items())
      if (!contains(taken_, name) && name.size() < kLongestShown && edit_distance(name, key) <= 2)
        refuse(name, {key});
    place_.key(key).fail("is missing; it has no default");
  }
  return nullptr;
}

void ObjectReader::real(const std::string& key, double& value, const Range& range, Need need) {
  if (const OrderedJson* found = take(key, need)) value = to_real(*found, place_.key(key), range);
}

void ObjectReader::optional_real(const std::string& key, std::optional<double>& value, const Range& range) {
  const OrderedJson* found = take(key);
  if (found && !found->is_null()) value = to_real(*found, place_.key(key), range);
}

void ObjectReader::excludes(const std::string& key, const std::string& other) const {
  if (object_.contains(key) && object_.contains(other))
    place_.key(key).fail("takes the place of " + other + "; give one of the two");
}

void ObjectReader::flag(const std::string& key, bool& value) {
  const OrderedJson* found = take(key);
  if (!found) return;
  if (!found->is_boolean()) place_.key(key).fail("must be true or false, not " + shown(*found));
  value = found->get<bool>();
}

void ObjectReader::text(const std::string& key, std::string& value, Need need) {
  if (const OrderedJson* found = take(key, need)) value = to_text(*found, place_.key(key));
}

void ObjectReader::texts(const std::string& key, std::vector<std::string>& values) {
  const OrderedJson* found = take(key);
  if (!found) return;
  const Place place = place_.key(key);
  if (!found->is_array()) place.fail("must be a list of strings, not " + shown(*found));
  values.clear();
  for (size_t i = 0; i < found->size(); ++i) values.push_back(to_text((*found)[i], place.index(i)));
}

void ObjectReader::wholes(const std::string& key, std::vector<int64_t>& values, const Range& range) {
  const OrderedJson* found = take(key);
  if (!found) return;
  const Place place = place_.key(key);
  if (!found->is_array()) place.fail("must be a list of whole numbers, not " + shown(*found));
  values.clear();
  for (size_t i = 0; i < found->size(); ++i) values.push_back(to_whole((*found)[i], place.index(i), range));
}

void ObjectReader::set_kind(const std::string& kind, const std::vector<std::string>& keys_of_all_kinds) {
  kind_ = kind;
  keys_of_all_kinds_ = keys_of_all_kinds;
}

void ObjectReader::finish() const {
  for (const auto& [name, unused] : object_.items())
    if (!contains(taken_, name)) refuse(name, taken_);
}

void ObjectReader::refuse(const std::string& key, const std::vector<std::string>& valid) const {
  if (contains(keys_of_all_kinds_, key))
    place_.key(key).fail(kind_ + " has no " + key + "; its keys are " + joined(taken_));
  place_.key(key).fail("unknown key; did you mean \"" + nearest(key, valid) + "\"?");
}

}  // namespace diffq
