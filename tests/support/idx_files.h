#pragma once
// Writes small synthetic IDX sets for tests: pictures of a class share a pattern of 4 x 4 light and dark
// cells, with noise, so that a model learns them within a few steps.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace diffq {

/// A new, empty folder under the system's temporary one; removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct IdxSetSpec {
  int64_t train = 256, test = 64;
  int64_t height = 12, width = 12;
  int64_t channels = 0;  ///< 0: grey, as idx3; otherwise idx4 [n, channels, height, width]
  int64_t classes = 4;   ///< sample i is of class i % classes
  int noise = 60;        ///< pixels are 190 or 65, plus or minus up to this
  uint64_t seed = 1;
  bool gzip = false;
};

/// The pictures of one part, [count, channels, height, width].
std::vector<uint8_t> patterned_pictures(const IdxSetSpec& spec, int64_t count, uint64_t seed);

/// Writes the four files of the set into `folder` (made if missing), under the names of MNIST; for
/// DataName::idx.
void write_idx_set(const std::filesystem::path& folder, const IdxSetSpec& spec);

/// One IDX file of unsigned bytes. The header gets `dims` whether or not they agree with `bytes`.
void write_idx_file(const std::filesystem::path& file, const std::vector<int64_t>& dims,
                    std::span<const uint8_t> bytes, bool gzip);
/// Any content.
void write_bytes(const std::filesystem::path& file, std::span<const uint8_t> bytes, bool gzip = false);

}  // namespace diffq
