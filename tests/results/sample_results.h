#pragma once
// Hand-made result rows that the tests of this folder write, read and print.

#include <filesystem>

#include "results/tables.h"

namespace diffq {

/// A folder of its own under the system's temporary folder, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Two runs, two epochs, one layer, two ranks, with every kind of value that a column may hold.
/// read_results.py knows them too.
ResultFile sample_results();

}  // namespace diffq
