#pragma once
// Sums that tell whether files are still the same, without reading large ones whole.

#include <cstdint>
#include <span>
#include <string>

namespace diffq {

/// 16 hex digits over the names (without folders), sizes and XXH3 sums of the files in this order: of whole
/// files up to 1 MiB, of the first and last 64 KiB of larger ones. Throws std::invalid_argument "FILE: …"
/// when one can't be read.
std::string fingerprint_files(std::span<const std::string> paths);

/// A file that is not on disk by itself.
struct NamedBytes {
  std::string name;  ///< without folders
  std::span<const uint8_t> bytes;
};
/// What fingerprint_files gives for files of these names and this content.
std::string fingerprint_contents(std::span<const NamedBytes> files);

/// 16 hex digits over the text.
std::string fingerprint_text(const std::string& text);

}  // namespace diffq
