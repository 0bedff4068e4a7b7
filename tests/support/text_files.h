#pragma once
// Folders of small texts.

#include <filesystem>
#include <fstream>
#include <string>

namespace diffq {

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// train.txt, valid.txt and test.txt.
inline void write_texts(const std::filesystem::path& folder, const std::string& train,
                        const std::string& valid, const std::string& test) {
  std::filesystem::create_directories(folder);
  write_text(folder / "train.txt", train);
  write_text(folder / "valid.txt", valid);
  write_text(folder / "test.txt", test);
}

/// `count` words "w0 " to "w<kinds - 1> ", the lower numbers more often; every 10th is followed by a new
/// line.
inline std::string some_words(int64_t count, int64_t kinds, uint64_t seed) {
  std::string text;
  uint64_t state = seed * 2 + 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto a = static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(kinds));
    const auto b = static_cast<int64_t>((state >> 17) % static_cast<uint64_t>(kinds));
    text += "w" + std::to_string(std::min(a, b)) + (i % 10 == 9 ? "\n" : " ");
  }
  return text;
}

}  // namespace diffq
