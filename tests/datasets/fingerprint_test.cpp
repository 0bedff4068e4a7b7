#include "datasets/fingerprint.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "datasets/dataset.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

DataSpec spec_of(const std::filesystem::path& folder) {
  DataSpec spec;
  spec.name = DataName::idx;
  spec.root = folder.string();
  return spec;
}

TEST(Fingerprint, IsOfTheContentNotOfTheFolder) {
  TemporaryFolder folder;
  const IdxSetSpec set{.train = 8, .test = 4};
  write_idx_set(folder.path() / "a", set);
  write_idx_set(folder.path() / "b", set);
  const std::string a = fingerprint(spec_of(folder.path() / "a"));
  EXPECT_EQ(a.size(), 16U);
  EXPECT_EQ(a.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(fingerprint(spec_of(folder.path() / "b")), a);

  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "b")) {
    std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(0xee));
    file.close();
    EXPECT_NE(fingerprint(spec_of(folder.path() / "b")), a) << entry.path();
    write_idx_set(folder.path() / "b", set);
  }
}

TEST(Fingerprint, OfLargeFilesReadsBothEnds) {
  TemporaryFolder folder;
  const std::array<std::string, 1> path{(folder.path() / "large").string()};
  constexpr size_t kSize = (1 << 20) + 1, kEnd = 1 << 16;
  std::vector<uint8_t> bytes(kSize, 7);
  write_bytes(path[0], bytes);
  const std::string before = fingerprint_files(path);
  const auto after_change_at = [&](size_t place) {
    bytes[place] ^= 1;
    write_bytes(path[0], bytes);
    bytes[place] ^= 1;
    return fingerprint_files(path);
  };
  for (const size_t place : {size_t{0}, kEnd - 1, kSize - kEnd, kSize - 1})
    EXPECT_NE(after_change_at(place), before);
  for (const size_t place : {kEnd, kSize / 2, kSize - kEnd - 1}) EXPECT_EQ(after_change_at(place), before);
  // One byte less is a file that is read whole.
  bytes.pop_back();
  write_bytes(path[0], bytes);
  const std::string small = fingerprint_files(path);
  EXPECT_NE(small, before);
  EXPECT_NE(after_change_at(kSize / 2), small);
}

TEST(Fingerprint, KnowsNamesAndOrder) {
  TemporaryFolder folder;
  const std::array<uint8_t, 3> content{1, 2, 3};
  const std::string a = (folder.path() / "a").string(), b = (folder.path() / "b").string();
  write_bytes(a, content);
  write_bytes(b, content);
  EXPECT_NE(fingerprint_files(std::array{a}), fingerprint_files(std::array{b}));
  EXPECT_NE(fingerprint_files(std::array{a, b}), fingerprint_files(std::array{b, a}));
  EXPECT_THROW(fingerprint_files(std::array{(folder.path() / "c").string()}), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
