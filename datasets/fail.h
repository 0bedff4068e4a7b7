#pragma once
// Errors in what the user gave: one form for all files of datasets/.

#include <stdexcept>
#include <string>

namespace diffq {

/// `where`: a file, or a key of the sweep file; `what`: what is wrong there; what would be right.
[[noreturn]] inline void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

}  // namespace diffq
