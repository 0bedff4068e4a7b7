#pragma once
// Writes small synthetic sets in the binary form of CIFAR-10 and CIFAR-100, with the patterned pictures of
// idx_files.h.

#include "tests/support/idx_files.h"

namespace diffq {

struct CifarSetSpec {
  int64_t records = 40;  ///< of each training file of CIFAR-10, or of CIFAR-100's only one
  int64_t test = 20;
  int64_t classes = 10;  ///< sample i of a file is of class i % classes
  uint64_t seed = 1;
};

/// Writes data_batch_1.bin … data_batch_5.bin and test_batch.bin into `folder` (made if missing).
void write_cifar10(const std::filesystem::path& folder, const CifarSetSpec& spec);
/// train.bin and test.bin; the coarse label of class c is c / 5.
void write_cifar100(const std::filesystem::path& folder, const CifarSetSpec& spec);

/// The files of a folder as an archive, in the order of their names turned round: NAME.tar, or .tar.gz. Each
/// stands in the archive as FOLDER/name.
void write_archive(const std::filesystem::path& folder, const std::filesystem::path& archive);

}  // namespace diffq
