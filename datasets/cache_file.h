#pragma once
// What was made from a data set once and is kept in a file: beside the data (a hidden file in its folder) or,
// where that can't be written, in ${XDG_CACHE_HOME:-~/.cache}/diffq/.

#include <filesystem>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace diffq {

/// Where the file `name` of the data in `root` may be, in the order in which to look: root/.diffq-NAME first.
std::vector<std::filesystem::path> cache_places(const std::string& root, const std::string& name);

/// Writes the file whole or not at all, whoever else writes it at the same time. False where it can't be.
bool write_cache(const std::filesystem::path& place, const std::function<void(std::ostream&)>& write);

}  // namespace diffq
