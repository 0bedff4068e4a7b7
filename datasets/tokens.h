#pragma once
// Text into tokens. Token 0 is the end of a line, 1 any word that is not in the vocabulary; the words of the
// training part follow, the more frequent first, those that are as frequent in the order in which they
// appear. In all three parts a word that is written <eos> or <unk> is token 0 or 1.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "datasets/data_spec.h"

namespace diffq {

inline constexpr int32_t kLineEnd = 0, kUnknown = 1, kOwnTokens = 2;

struct Tokens {
  int64_t vocabulary = 0;  ///< all tokens are below it
  std::array<std::vector<int32_t>, 3> parts;
};

/// `texts`: the training, validation and test part, valid UTF-8.
Tokens make_tokens(const std::array<std::string_view, 3>& texts, const TextSpec& spec);

}  // namespace diffq
