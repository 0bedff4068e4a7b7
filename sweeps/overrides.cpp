#include "sweeps/overrides.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace diffq {
namespace {

OrderedJson parse_value(const std::string& text, const Place& place) {
  try {
    return parse_json(text, place.source);
  } catch (const std::invalid_argument& error) {
    if (text.empty() || std::string_view("{[\"-0123456789").find(text[0]) == std::string_view::npos)
      return text;
    throw std::invalid_argument(std::string(error.what()) + "; put quotes around it if it is a string");
  }
}

OrderedJson& element(OrderedJson& list, const std::string& index, const Place& place) {
  size_t i = 0;
  const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), i);
  if (error != std::errc() || end != index.data() + index.size() || i >= list.size())
    place.fail("is a list of " + std::to_string(list.size()) + "; \"" + index +
               "\" must be an index from 0 to " + std::to_string(std::max<size_t>(list.size(), 1) - 1));
  return list[i];
}

// Files are checked by the parser; arguments come as any bytes, and would fail only when written out.
void check_utf8(const std::string& setting) {
  try {
    (void)OrderedJson(setting).dump();
  } catch (const OrderedJson::exception&) {
    throw std::invalid_argument("--set: the setting holds bytes that are not UTF-8; write it in UTF-8");
  }
}

}  // namespace

void apply_override(OrderedJson& sweep, const std::string& setting) {
  check_utf8(setting);
  const size_t equals = setting.find('=');
  const std::string path = setting.substr(0, equals);
  Place place{"--set " + path, ""};
  if (equals == std::string::npos) place.fail("has no '='; write --set key.key=value");

  OrderedJson* value = &sweep;
  for (size_t from = 0; from <= path.size();) {
    const size_t dot = std::min(path.find('.', from), path.size());
    const std::string key = path.substr(from, dot - from);
    const bool last = dot == path.size();
    if (key.empty()) place.fail("has an empty key; write --set key.key=value");
    if (value->is_array()) {
      value = &element(*value, key, place);
      place = {place.source, place.path + "[" + key + "]"};
    } else if (value->is_object()) {
      place = place.key(key);
      if (!last && !value->contains(key))
        place.fail("is not there; set it as a whole, as " + path.substr(0, dot) + "={...}");
      value = &(*value)[key];
    } else {
      place.fail("is " + shown(*value) + ", which has no \"" + key + "\"");
    }
    from = dot + 1;
  }
  *value = parse_value(setting.substr(equals + 1), place);
}

}  // namespace diffq
