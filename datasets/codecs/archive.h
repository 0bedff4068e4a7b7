#pragma once
// tar archives, plain or compressed with gzip, through libarchive. Nothing is written to disk.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace diffq {

struct ArchiveMember {
  std::string name;  ///< as in the archive, with folders
  std::vector<uint8_t> bytes;
};

/// The files in the archive whose names without folders are among `names`, in the archive's order. Throws
/// std::invalid_argument "PATH: …" where it is cut short or no such archive.
std::vector<ArchiveMember> read_archive(const std::string& path, std::span<const std::string> names);

}  // namespace diffq
