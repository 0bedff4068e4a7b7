#pragma once
// From a kind back to the word for it.

#include <string>
#include <vector>

namespace diffq {

/// `table`: an array of (word, value) pairs, as kMethodNames.
template <class Enum, class Table>
std::string word_of(Enum value, const Table& table) {
  for (const auto& [word, candidate] : table)
    if (candidate == value) return std::string(word);
  return "";
}

template <class Table>
std::vector<std::string> words_of(const Table& table) {
  std::vector<std::string> words;
  for (const auto& [word, unused] : table) words.emplace_back(word);
  return words;
}

}  // namespace diffq
