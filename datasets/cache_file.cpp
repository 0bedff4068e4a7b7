#include "datasets/cache_file.h"

#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include <fstream>

namespace diffq {

namespace fs = std::filesystem;

std::vector<fs::path> cache_places(const std::string& root, const std::string& name) {
  std::vector<fs::path> places{fs::path(root) / (".diffq-" + name)};
  const auto variable = [](const char* variable_name) {
    const char* value = getenv(variable_name);
    return fs::path(value == nullptr ? "" : value);
  };
  fs::path cache = variable("XDG_CACHE_HOME");
  if (cache.empty() && !variable("HOME").empty()) cache = variable("HOME") / ".cache";
  std::error_code error;
  const std::string whole = fs::weakly_canonical(root, error).string();
  if (!cache.empty())
    places.push_back(cache / "diffq" /
                     (name + "-" + std::to_string(XXH3_64bits(whole.data(), whole.size()))));
  return places;
}

bool write_cache(const fs::path& place, const std::function<void(std::ostream&)>& write) {
  std::error_code error;
  fs::create_directories(place.parent_path(), error);
  std::string temporary = place.string() + ".XXXXXX";
  const int descriptor = mkstemp(temporary.data());
  if (descriptor < 0) return false;
  close(descriptor);
  std::ofstream file(temporary, std::ios::binary);
  write(file);
  file.close();
  fs::permissions(temporary, fs::perms::group_read | fs::perms::others_read, fs::perm_options::add, error);
  if (!file.fail()) fs::rename(temporary, place, error);
  if (!file.fail() && !error) return true;
  fs::remove(temporary, error);
  return false;
}

}  // namespace diffq
