#pragma once
// What this program is: shown by --version and written into every result.

#include <string>

namespace diffq {

std::string program_version();  ///< "0.1.0"
std::string
git_commit();  ///< 12 hex digits, "-dirty" behind them if the tree was changed; "unknown" without git

}  // namespace diffq
