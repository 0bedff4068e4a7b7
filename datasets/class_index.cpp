#include "datasets/class_index.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "datasets/cache_file.h"
#include "datasets/warning.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHeader = "diffq-index 1";
const std::string kName = "index";
constexpr int64_t kSafeAge = 2'000'000'000;  // ns; the coarsest times of file systems are of 2 s (FAT)
constexpr int64_t kSampled = 64;

struct Index {
  ClassFolders folders;
  std::vector<int64_t> times;  ///< as of folder_times
};

// Lines: header, number of classes, their names; times; then per part and class the number of files and a
// line "BYTES NAME" each; last the sum of all before it.
std::string text_of(const Index& index) {
  std::string text = std::string(kHeader) + '\n' + std::to_string(index.folders.classes.size()) + '\n';
  for (const std::string& name : index.folders.classes) text += name + '\n';
  for (const int64_t time : index.times) text += std::to_string(time) + '\n';
  for (const PictureFiles* part : {&index.folders.train, &index.folders.val}) {
    for (size_t label = 0; label < index.folders.classes.size(); ++label) {
      const int64_t begin = part->class_begin(label), end = part->class_end(label);
      text += std::to_string(end - begin) + '\n';
      for (int64_t file = begin; file < end; ++file)
        text.append(std::to_string(part->bytes(file)))
            .append(1, ' ')
            .append(part->name(file))
            .append(1, '\n');
    }
  }
  return text + std::to_string(XXH3_64bits(text.data(), text.size())) + '\n';
}

// Lines of a text whose sum was right: what is in them was written by text_of.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  std::string_view next() {
    const size_t end = std::min(rest_.find('\n'), rest_.size());
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return line;
  }
  int64_t next_number() { return number(next()); }

  static int64_t number(std::string_view text) {
    int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }

 private:
  std::string_view rest_;
};

std::optional<Index> parse(std::string_view text, const std::string& root) {
  if (!text.ends_with('\n')) return std::nullopt;
  const size_t last = text.substr(0, text.size() - 1).rfind('\n') + 1;
  const std::string_view sum = text.substr(last, text.size() - 1 - last);
  text = text.substr(0, last);
  if (sum != std::to_string(XXH3_64bits(text.data(), text.size()))) return std::nullopt;

  Lines lines(text);
  if (lines.next() != kHeader) return std::nullopt;
  Index index;
  index.folders.root = root;
  const auto classes = static_cast<size_t>(lines.next_number());
  for (size_t i = 0; i < classes; ++i) index.folders.classes.emplace_back(lines.next());
  for (size_t i = 0; i < 2 * (classes + 1); ++i) index.times.push_back(lines.next_number());
  for (PictureFiles* part : {&index.folders.train, &index.folders.val}) {
    for (size_t label = 0; label < classes; ++label) {
      for (int64_t left = lines.next_number(); left > 0; --left) {
        const std::string_view line = lines.next();
        part->add(line.substr(line.find(' ') + 1), Lines::number(line));
      }
      part->end_class();
    }
  }
  return index;
}

template <class Use>
void for_sampled(const ClassFolders& folders, const Use& use) {
  const int64_t train = folders.train.count(), all = train + folders.val.count();
  const int64_t sampled = std::min(kSampled, all);
  for (int64_t i = 0; i < sampled; ++i) {
    const int64_t file = i * all / sampled;
    file < train ? use(folders.train, file) : use(folders.val, file - train);
  }
}

bool is_true(const Index& index) {
  if (index.times != folder_times(index.folders.root, index.folders.classes)) return false;
  bool same = true;
  for_sampled(index.folders, [&](const PictureFiles& part, int64_t file) {
    std::error_code error;
    same = same && fs::file_size(index.folders.path(part, file), error) == part.bytes(file);
  });
  return same;
}

std::optional<Index> find_index(const std::string& root) {
  for (const fs::path& place : cache_places(root, kName)) {
    std::error_code error;
    if (!fs::is_regular_file(place, error)) continue;
    std::ifstream file(place, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::optional<Index> index = parse(text, root);
    if (index && is_true(*index)) return index;
  }
  return std::nullopt;
}

void keep(const Index& index) {
  const std::string text = text_of(index);
  const std::vector<fs::path> places = cache_places(index.folders.root, kName);
  if (std::ranges::any_of(places, [&](const fs::path& place) {
        return write_cache(place, [&](std::ostream& out) { out << text; });
      }))
    return;
  warn_of_data(places.front().string(),
               "can't be written, nor can the same in ~/.cache: all files are listed at every start");
}

}  // namespace

ClassFolders open_class_folders(const std::string& root) {
  if (std::optional<Index> index = find_index(root)) return std::move(index->folders);
  const int64_t now = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  // Before listing, so that what changes meanwhile shows.
  std::vector<int64_t> times = folder_times(root, class_names(root));
  Index index{list_class_folders(root), std::move(times)};
  const bool settled = std::ranges::max(index.times) < now - kSafeAge;
  if (settled && index.times == folder_times(root, index.folders.classes)) keep(index);
  return std::move(index.folders);
}

std::vector<fs::path> sampled_files(const ClassFolders& folders) {
  std::vector<fs::path> paths;
  for_sampled(folders,
              [&](const PictureFiles& part, int64_t file) { paths.push_back(folders.path(part, file)); });
  return paths;
}

}  // namespace diffq
