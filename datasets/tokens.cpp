#include "datasets/tokens.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "datasets/utf8_text.h"

namespace diffq {
namespace {

constexpr std::string_view kLineEndWord = "<eos>", kUnknownWord = "<unk>";

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Calls use(word) for each word, and for the end of each line, if that is a token; a last line without its
// end has one all the same.
template <class Use>
void for_each_word(std::string_view text, bool line_ends, const Use& use) {
  for (size_t i = 0; i < text.size();) {
    if (is_space(text[i])) {
      if (text[i] == '\n' && line_ends) use(kLineEndWord);
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && !is_space(text[end])) ++end;
    use(text.substr(i, end - i));
    i = end;
  }
  if (line_ends && !text.empty() && text.back() != '\n') use(kLineEndWord);
}

template <class Use>
void for_each_unit(std::string_view text, const TextSpec& spec, const Use& use) {
  if (spec.unit == TextUnit::word) return for_each_word(text, spec.line_ends, use);
  for (size_t i = 0; i < text.size();) {
    const size_t bytes = character_bytes(text.substr(i));
    use(text.substr(i, bytes));
    i += bytes;
  }
}

}  // namespace

Tokens make_tokens(const std::array<std::string_view, 3>& texts, const TextSpec& spec) {
  // First numbered in the order in which they appear, then by how often.
  std::unordered_map<std::string_view, int32_t> numbers{{kLineEndWord, kLineEnd}, {kUnknownWord, kUnknown}};
  std::vector<int64_t> counts(kOwnTokens);
  Tokens tokens;
  std::vector<int32_t>& train = tokens.parts[0];
  for_each_unit(texts[0], spec, [&](std::string_view word) {
    const auto [found, is_new] = numbers.emplace(word, static_cast<int32_t>(counts.size()));
    if (is_new) counts.push_back(0);
    ++counts[static_cast<size_t>(found->second)];
    train.push_back(found->second);
  });
  std::vector<int32_t> by_count(counts.size());
  std::iota(by_count.begin(), by_count.end(), 0);
  std::stable_sort(by_count.begin() + kOwnTokens, by_count.end(), [&](int32_t a, int32_t b) {
    return counts[static_cast<size_t>(a)] > counts[static_cast<size_t>(b)];
  });
  const size_t kept =
      spec.vocabulary == 0 ? counts.size() : std::min(counts.size(), static_cast<size_t>(spec.vocabulary));
  std::vector<int32_t> token_of(counts.size(), kUnknown);
  for (size_t token = 0; token < kept; ++token)
    token_of[static_cast<size_t>(by_count[token])] = static_cast<int32_t>(token);

  tokens.vocabulary = static_cast<int64_t>(kept);
  for (int32_t& token : train) token = token_of[static_cast<size_t>(token)];
  for (const size_t part : {1, 2}) {
    for_each_unit(texts[part], spec, [&](std::string_view word) {
      const auto found = numbers.find(word);
      tokens.parts[part].push_back(found == numbers.end() ? kUnknown
                                                          : token_of[static_cast<size_t>(found->second)]);
    });
  }
  return tokens;
}

}  // namespace diffq
