#include "results/file_sum.h"

#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

namespace diffq {

FileSum sum_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  FileSum result;
  std::vector<char> piece(1 << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    XXH3_64bits_update(state.get(), piece.data(), static_cast<size_t>(file.gcount()));
    result.bytes += file.gcount();
  }
  if (!file.eof()) throw std::runtime_error(path.string() + ": can't be read: " + std::strerror(errno));
  XXH64_canonical_t bytes;
  XXH64_canonicalFromHash(&bytes, XXH3_64bits_digest(state.get()));
  for (const unsigned char byte : bytes.digest) {
    result.sum += "0123456789abcdef"[byte >> 4];
    result.sum += "0123456789abcdef"[byte & 15];
  }
  return result;
}

}  // namespace diffq
