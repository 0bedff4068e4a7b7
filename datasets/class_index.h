#pragma once
// The list of all files of class folders, kept in a file, since listing a million takes long on the file
// systems of clusters. It stands beside the data (root/.diffq-index) or, where that can't be written, in
// ${XDG_CACHE_HOME:-~/.cache}/diffq/.
//
// It is used only where train, val and all class folders were last changed when it says they were (adding,
// removing and renaming files changes a folder) and 64 files spread over all have the sizes that it says. A
// file that was written over in place is found when it is read: its size is compared. A folder changed less
// than 2 s before it was listed might change again within the resolution of its time: then nothing is kept,
// and the next start lists again.

#include "datasets/class_folders.h"

namespace diffq {

/// From the index while it is true, otherwise by listing; then the index is written. Errors as
/// list_class_folders.
ClassFolders open_class_folders(const std::string& root);

/// 64 files or all, spread evenly over train and val: those whose content stands for the whole.
std::vector<std::filesystem::path> sampled_files(const ClassFolders& folders);

}  // namespace diffq
