#pragma once
// Replacing a file as a whole: readers and kills see the old content or the new, never half of one.

#include <filesystem>
#include <functional>
#include <string>

namespace diffq {

/// Calls `write` with a temporary path in the same folder, syncs what it wrote, renames it to `path`, syncs
/// the folder. If anything throws, the temporary is removed and the old file stays. Throws std::runtime_error
/// naming the path.
void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write);
/// The same for a text.
void replace_file(const std::filesystem::path& path, const std::string& text);

/// Removes what a killed process left of such replacements in `folder`, where nobody else writes.
void remove_temporaries(const std::filesystem::path& folder);

}  // namespace diffq
