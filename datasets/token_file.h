#pragma once
// The tokens of a text, made once and kept in a file (cache_file.h) that all runs and ranks map: int32, the
// three parts one after the other. The file counts as long as the text files have the sizes, times and sums
// (fingerprint.h) that it was made from. Where it can't be written, each process makes the tokens for itself.

#include <array>
#include <memory>
#include <span>
#include <string>

#include "datasets/data_spec.h"

namespace diffq {

struct TokenParts {
  int64_t vocabulary = 0;
  std::array<std::span<const int32_t>, 3> parts;  ///< training, validation, test
  std::shared_ptr<const void> owner;              ///< of the memory
};

/// Throws std::invalid_argument "FILE: …" when one is missing, no file or empty.
void check_text_files(const std::array<std::string, 3>& files);

/// `files`: the training, validation and test part in `root`. Throws as check_text_files, and when
/// one can't be read or is not UTF-8.
TokenParts open_tokens(const std::string& root, const std::array<std::string, 3>& files,
                       const TextSpec& spec);

}  // namespace diffq
