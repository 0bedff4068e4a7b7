#include <algorithm>
#include <stdexcept>

#include "sweeps/json_reader.h"

namespace diffq {
namespace {

constexpr size_t kDeepest = 32;

[[noreturn]] void fail_at(const std::string& text, const std::string& source, size_t byte,
                          const std::string& problem) {
  const auto prefix = std::string_view(text).substr(0, byte);
  const auto line = 1 + std::count(prefix.begin(), prefix.end(), '\n');
  const size_t newline = prefix.rfind('\n');
  const size_t column = prefix.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
  Place{source, "line " + std::to_string(line) + ", column " + std::to_string(column)}.fail(problem);
}

// The library's message without its own position and without what it read last, which may be the whole file.
std::string reason(std::string_view what) {
  const auto drop_until = [&](std::string_view mark) {
    if (const size_t at = what.find(mark); at != std::string_view::npos) what.remove_prefix(at + mark.size());
  };
  drop_until("] ");
  drop_until("syntax error while parsing ");
  drop_until(" - ");
  std::string text(what);
  if (const size_t read = text.find("; last read: '"); read != std::string::npos) {
    const size_t expected = text.rfind("; expected ");
    text.erase(read, expected == std::string::npos || expected < read ? std::string::npos : expected - read);
  }
  return "not JSON: " + text;
}

// Builds the value, and looks at what the library's own builder lets pass: duplicate keys and depth.
class Builder : public OrderedJson::json_sax_t {
 public:
  Builder(const std::string& text, const std::string& source) : text_(text), source_(source) {}

  OrderedJson root;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }
  bool start_object(size_t) override { return open(OrderedJson::object()); }
  bool start_array(size_t) override { return open(OrderedJson::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) place().key(name).fail("duplicate key; keep one of the two");
    keys_.back() = name;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    fail_at(text_, source_, position == 0 ? 0 : position - 1, reason(error.what()));
  }

 private:
  bool add(OrderedJson value) {
    place_value(std::move(value));
    return true;
  }

  OrderedJson* place_value(OrderedJson value) {
    if (open_.empty()) return &(root = std::move(value));
    OrderedJson& parent = *open_.back();
    if (parent.is_object()) return &(parent[keys_.back()] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }

  bool open(OrderedJson value) {
    if (open_.size() == kDeepest)
      place().fail("is nested deeper than " + std::to_string(kDeepest) + " levels");
    open_.push_back(place_value(std::move(value)));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  // Of the innermost open value.
  Place place() const {
    Place place{source_, ""};
    for (size_t i = 0; i + 1 < open_.size(); ++i)
      place = open_[i]->is_object() ? place.key(keys_[i]) : place.index(open_[i]->size() - 1);
    return place;
  }

  const std::string& text_;
  const std::string& source_;
  std::vector<OrderedJson*>
      open_;  // values stay where they are: a container does not grow while its child is open
  std::vector<std::string> keys_;  // the key being read in each
};

}  // namespace

OrderedJson parse_json(const std::string& text, const std::string& source) {
  // The library takes NUL for the end, whatever follows.
  if (const size_t nul = text.find('\0'); nul != std::string::npos)
    fail_at(text, source, nul, "not JSON: a NUL byte; is this a binary file?");
  Builder builder(text, source);
  OrderedJson::sax_parse(text, &builder, nlohmann::detail::input_format_t::json, true, true);
  return std::move(builder.root);
}

}  // namespace diffq
