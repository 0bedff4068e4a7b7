#pragma once
// Picture files in a folder of class folders: root/train/CLASS/NAME.jpg and root/val/CLASS/NAME.jpg. Classes
// are numbered in the sorted order of their names, which are the same in both.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace diffq {

/// Files of one part, sorted by class and name; kept close together, since there may be millions.
class PictureFiles {
 public:
  explicit PictureFiles(std::string folder) : folder_(std::move(folder)) {}
  void add(std::string_view name, uint64_t bytes);
  void end_class() { class_end_.push_back(count()); }

  const std::string& folder() const { return folder_; }  ///< "train", "val"
  int64_t count() const { return static_cast<int64_t>(bytes_.size()); }
  int64_t label(int64_t file) const;
  std::string_view name(int64_t file) const;
  uint64_t bytes(int64_t file) const { return bytes_[file]; }
  /// The files of a class are [class_begin(label), class_end(label)).
  int64_t class_begin(int64_t label) const { return label == 0 ? 0 : class_end_[label - 1]; }
  int64_t class_end(int64_t label) const { return class_end_[label]; }

 private:
  std::string folder_, names_;
  std::vector<uint64_t> name_end_, bytes_;
  std::vector<int64_t> class_end_;
};

struct ClassFolders {
  std::string root;
  std::vector<std::string> classes;
  PictureFiles train{"train"}, val{"val"};

  /// "val/n01440764/ILSVRC2012_val_00000293.JPEG"
  std::string relative_path(const PictureFiles& part, int64_t file) const;
  std::filesystem::path path(const PictureFiles& part, int64_t file) const;
};

/// Lists all files. Hidden ones are passed over; whatever else does not belong there is an error, thrown as
/// std::invalid_argument "FILE: what is wrong; what would be right".
ClassFolders list_class_folders(const std::string& root);

/// When the two parts and their class folders were last changed (files added, removed or renamed), in ns
/// since 1970; -1 where there is no such folder.
std::vector<int64_t> folder_times(const std::string& root, const std::vector<std::string>& classes);

/// The names of the class folders, from root/train alone. Errors as list_class_folders.
std::vector<std::string> class_names(const std::string& root);

}  // namespace diffq
