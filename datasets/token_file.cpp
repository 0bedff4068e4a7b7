#include "datasets/token_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "datasets/cache_file.h"
#include "datasets/fail.h"
#include "datasets/fingerprint.h"
#include "datasets/mapped_file.h"
#include "datasets/tokens.h"
#include "datasets/utf8_text.h"
#include "datasets/warning.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

struct Header {
  char magic[16] = "diffq-tokens 1";
  char source[16] = {};  ///< what the tokens were made from
  int64_t vocabulary = 0;
  int64_t counts[3] = {};
};

/// How the tokens of these settings are made.
std::string settings_of(const TextSpec& spec) {
  return std::to_string(static_cast<int>(spec.unit)) + ' ' + std::to_string(spec.vocabulary) + ' ' +
         std::to_string(spec.line_ends);
}

std::string source_of(const std::array<std::string, 3>& files, const TextSpec& spec) {
  std::string text = fingerprint_files(files) + settings_of(spec);
  for (const std::string& file : files)
    text += ' ' + std::to_string(fs::last_write_time(file).time_since_epoch().count());
  return fingerprint_text(text);
}

/// The tokens in the file at `place`, if it is of this source and whole.
std::optional<TokenParts> map_tokens(const fs::path& place, const std::string& source) {
  std::error_code error;
  if (!fs::is_regular_file(place, error) || fs::file_size(place, error) < sizeof(Header)) return std::nullopt;
  const auto file = std::make_shared<const MappedFile>(place.string());
  Header header, expected;
  std::memcpy(&header, file->bytes().data(), sizeof header);
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0) return std::nullopt;
  if (source != std::string_view(header.source, sizeof header.source)) return std::nullopt;
  const std::span<const int32_t> all{reinterpret_cast<const int32_t*>(file->bytes().data() + sizeof header),
                                     (file->bytes().size() - sizeof header) / sizeof(int32_t)};
  TokenParts result{header.vocabulary, {}, file};
  size_t begin = 0;
  for (size_t part = 0; part < 3; ++part) {
    const auto count = static_cast<size_t>(header.counts[part]);
    if (count > all.size() - begin) return std::nullopt;
    result.parts[part] = all.subspan(begin, count);
    begin += count;
  }
  return begin == all.size() ? std::optional(result) : std::nullopt;
}

Tokens read_tokens(const std::array<std::string, 3>& files, const TextSpec& spec) {
  std::array<std::unique_ptr<const MappedFile>, 3> mapped;
  std::array<std::string_view, 3> texts;
  for (size_t part = 0; part < 3; ++part) {
    mapped[part] = std::make_unique<const MappedFile>(files[part]);
    texts[part] = {mapped[part]->bytes().data(), mapped[part]->bytes().size()};
    if (const auto place = find_invalid_utf8(texts[part])) {
      const std::string_view before = texts[part].substr(0, *place);
      fail(files[part], "is not UTF-8: byte " + std::to_string(*place) + ", in line " +
                            std::to_string(1 + std::count(before.begin(), before.end(), '\n')) +
                            "; convert it, by iconv for example");
    }
  }
  Tokens tokens = make_tokens(texts, spec);
  for (size_t part = 0; part < 3; ++part) {
    if (tokens.parts[part].empty()) fail(files[part], "holds no words; it must be a text");
  }
  return tokens;
}

void write_tokens(std::ostream& out, const Tokens& tokens, const std::string& source) {
  Header header;
  source.copy(header.source, sizeof header.source);
  header.vocabulary = tokens.vocabulary;
  for (size_t part = 0; part < 3; ++part)
    header.counts[part] = static_cast<int64_t>(tokens.parts[part].size());
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  for (const auto& part : tokens.parts)
    out.write(reinterpret_cast<const char*>(part.data()),
              static_cast<std::streamsize>(part.size() * sizeof(int32_t)));
}

}  // namespace

void check_text_files(const std::array<std::string, 3>& files) {
  for (const std::string& file : files) {
    std::error_code error;
    if (!fs::exists(file, error))
      fail(file, "is not there; the training, validation and test parts are " +
                     fs::path(files[0]).filename().string() + ", " + fs::path(files[1]).filename().string() +
                     " and " + fs::path(files[2]).filename().string());
    if (!fs::is_regular_file(file, error)) fail(file, "is not a file; it must be a text");
    if (fs::file_size(file, error) == 0) fail(file, "is empty; it must be a text");
  }
}

TokenParts open_tokens(const std::string& root, const std::array<std::string, 3>& files,
                       const TextSpec& spec) {
  check_text_files(files);
  const std::string source = source_of(files, spec);
  const std::vector<fs::path> places =
      cache_places(root, "tokens-" + fingerprint_text(settings_of(spec)).substr(0, 8));
  for (const fs::path& place : places) {
    if (auto found = map_tokens(place, source)) return *found;
  }
  const auto tokens = std::make_shared<const Tokens>(read_tokens(files, spec));
  for (const fs::path& place : places) {
    if (!write_cache(place, [&](std::ostream& out) { write_tokens(out, *tokens, source); })) continue;
    if (auto found = map_tokens(place, source)) return *found;
  }
  warn_of_data(places.front().string(),
               "can't be written, nor can the same in ~/.cache: the text is read at every start");
  return {tokens->vocabulary, {tokens->parts[0], tokens->parts[1], tokens->parts[2]}, tokens};
}

}  // namespace diffq
