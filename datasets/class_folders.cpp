#include "datasets/class_folders.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <utility>

#include "datasets/fail.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRemedy =
    "an imagenet data set is the folders train and val in data.root, each with one folder a class that holds "
    "its .jpg or .jpeg files";

bool is_picture_name(const std::string& name) {
  std::string ending = fs::path(name).extension().string();
  std::ranges::transform(ending, ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".jpg" || ending == ".jpeg";
}

// What is not hidden in a folder, sorted by name.
std::vector<fs::directory_entry> entries_of(const fs::path& folder) {
  std::vector<fs::directory_entry> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.find('\n') != std::string::npos)
      fail(folder.string(), "holds a name with a line break; rename it");
    if (!name.starts_with('.')) entries.push_back(*at);
  }
  if (error) fail(folder.string(), "can't be listed (" + error.message() + ")");
  std::ranges::sort(entries, {}, [](const auto& entry) { return entry.path().filename().string(); });
  return entries;
}

std::vector<std::string> class_names_of(const fs::path& part) {
  std::error_code error;
  if (!fs::is_directory(part, error)) fail(part.string(), std::string("there is no such folder; ") + kRemedy);
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : entries_of(part)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory(error)) {
      fail(entry.path().string(),
           std::string("stands beside the class folders; it belongs in the folder of ") + "its class" +
               (part.filename() == "val" ? " (ImageNet's val is not sorted so when it is unpacked)" : ""));
    }
    names.push_back(name);
  }
  if (names.empty()) fail(part.string(), std::string("holds no class folders; ") + kRemedy);
  return names;
}

struct Named {
  std::string name;
  uint64_t bytes;
};

std::vector<Named> pictures_of(const fs::path& folder) {
  std::vector<Named> pictures;
  std::error_code error;
  for (const fs::directory_entry& entry : entries_of(folder)) {
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (!is_picture_name(name))
      fail(path, "is not a .jpg or .jpeg file; remove it, or hide it with a dot before its name");
    if (!entry.is_regular_file(error))
      fail(path, "is not a file; a class folder holds .jpg or .jpeg files alone");
    const uint64_t bytes = entry.file_size(error);
    if (error) fail(path, "can't be read (" + error.message() + ")");
    pictures.push_back({name, bytes});
  }
  if (pictures.empty()) fail(folder.string(), "holds no .jpg or .jpeg files; add some or remove the class");
  return pictures;
}

void check_same_classes(const std::string& root, const std::vector<std::string>& train,
                        const std::vector<std::string>& val) {
  const auto check = [&](const auto& here, const auto& there, const char* part, const char* other) {
    for (const std::string& name : here) {
      if (!std::ranges::binary_search(there, name)) {
        fail((fs::path(root) / part / name).string(),
             std::string("there is no class of this name in ") + other + "; both must hold the same classes");
      }
    }
  };
  check(train, val, "train", "val");
  check(val, train, "val", "train");
}

// Network file systems answer slowly but many at a time: classes are listed by several threads.
void list_part(const fs::path& root, const std::vector<std::string>& classes, PictureFiles& part) {
  constexpr size_t kThreads = 16;
  std::vector<std::vector<Named>> found(classes.size());
  std::vector<std::exception_ptr> errors(classes.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < classes.size(); i = next++) {
      try {
        found[i] = pictures_of(root / part.folder() / classes[i]);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < std::min(kThreads, classes.size()); ++i) threads.emplace_back(work);
  }
  for (size_t i = 0; i < classes.size(); ++i) {
    if (errors[i]) std::rethrow_exception(errors[i]);
    for (const Named& picture : found[i]) part.add(picture.name, picture.bytes);
    part.end_class();
  }
}

int64_t changed(const fs::path& folder) {
  struct stat status;
  if (stat(folder.c_str(), &status) != 0) return -1;
  return int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

void PictureFiles::add(std::string_view name, uint64_t bytes) {
  names_ += name;
  name_end_.push_back(names_.size());
  bytes_.push_back(bytes);
}

int64_t PictureFiles::label(int64_t file) const {
  return std::ranges::upper_bound(class_end_, file) - class_end_.begin();
}

std::string_view PictureFiles::name(int64_t file) const {
  const uint64_t begin = file == 0 ? 0 : name_end_[file - 1];
  return std::string_view(names_).substr(begin, name_end_[file] - begin);
}

std::string ClassFolders::relative_path(const PictureFiles& part, int64_t file) const {
  return part.folder() + '/' + classes[part.label(file)] + '/' + std::string(part.name(file));
}

fs::path ClassFolders::path(const PictureFiles& part, int64_t file) const {
  return fs::path(root) / relative_path(part, file);
}

std::vector<std::string> class_names(const std::string& root) {
  std::error_code error;
  if (root.empty()) fail("data.root", std::string("is empty; ") + kRemedy);
  if (!fs::is_directory(root, error)) fail(root, std::string("there is no such folder; ") + kRemedy);
  return class_names_of(fs::path(root) / "train");
}

ClassFolders list_class_folders(const std::string& root) {
  ClassFolders folders;
  folders.root = root;
  folders.classes = class_names(root);
  check_same_classes(root, folders.classes, class_names_of(fs::path(root) / "val"));
  list_part(root, folders.classes, folders.train);
  list_part(root, folders.classes, folders.val);
  return folders;
}

std::vector<int64_t> folder_times(const std::string& root, const std::vector<std::string>& classes) {
  std::vector<int64_t> times;
  for (const char* part : {"train", "val"}) {
    const fs::path folder = fs::path(root) / part;
    times.push_back(changed(folder));
    for (const std::string& name : classes) times.push_back(changed(folder / name));
  }
  return times;
}

}  // namespace diffq
