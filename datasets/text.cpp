#include "datasets/text.h"

#include <utility>

#include "datasets/fail.h"
#include "datasets/fingerprint.h"
#include "datasets/text_dataset.h"
#include "datasets/tokens.h"

namespace diffq {
namespace {

struct TextCounts {
  int64_t vocabulary;
  int64_t tokens[3];
};
// As published, the ends of lines included (arXiv:1609.07843, table 1).
constexpr TextCounts kWikiText103{267'735, {103'227'021, 217'646, 245'569}};

bool is_wikitext(const DataSpec& spec) { return spec.name == DataName::wikitext103; }

std::array<std::string, 3> files_of(const DataSpec& spec) {
  const std::string root = spec.root + "/";
  if (is_wikitext(spec))
    return {root + "wiki.train.tokens", root + "wiki.valid.tokens", root + "wiki.test.tokens"};
  return {root + "train.txt", root + "valid.txt", root + "test.txt"};
}

void check_text_spec(const TextSpec& text) {
  if (text.block < 1) fail("data.block", std::to_string(text.block) + " is below 1; 512 is usual");
  if (text.context < 0 || text.context >= text.block)
    fail("data.context", std::to_string(text.context) + " must be at least 0 and below data.block, " +
                             std::to_string(text.block));
  if (text.vocabulary != 0 && text.vocabulary <= kOwnTokens)
    fail("data.vocabulary", std::to_string(text.vocabulary) +
                                " leaves no word besides the end of a line and the unknown word; at least " +
                                std::to_string(kOwnTokens + 1) + ", or 0 for all");
}

void check_wikitext(const DataSpec& spec, const TokenParts& tokens) {
  const auto files = files_of(spec);
  const auto check = [](const std::string& where, int64_t there, int64_t expected, const std::string& what) {
    if (there != expected)
      fail(where, "has " + std::to_string(there) + " " + what + ", WikiText-103 has " +
                      std::to_string(expected) + "; for another text use \"name\": \"text\"");
  };
  for (size_t part = 0; part < 3; ++part)
    check(files[part], static_cast<int64_t>(tokens.parts[part].size()), kWikiText103.tokens[part], "tokens");
  check(files[0], tokens.vocabulary, kWikiText103.vocabulary, "different words");
}

}  // namespace

DataSplits open_text(const DataSpec& spec) {
  TextSpec text = spec.text;
  if (is_wikitext(spec)) {
    text.unit = TextUnit::word;
    text.vocabulary = 0;
    text.line_ends = true;
  }
  check_text_spec(text);
  const auto files = files_of(spec);
  const TokenParts tokens = open_tokens(spec.root, files, text);
  if (is_wikitext(spec)) check_wikitext(spec, tokens);
  const auto train = std::make_shared<TextDataset>(tokens, 0, text.block, text.block, /*whole=*/true);
  if (train->size() == 0) {
    fail(files[0], "has " + std::to_string(tokens.parts[0].size()) +
                       " tokens, fewer than one block (data.block: " + std::to_string(text.block) +
                       "); choose smaller blocks");
  }
  const auto judged = [&](size_t part) {
    return std::make_shared<TextDataset>(tokens, part, text.block, text.block - text.context,
                                         /*whole=*/false);
  };
  const auto valid = judged(1), test = judged(2);
  train->limit(limited("data.train_samples", spec.train_samples, train->size(), files[0]));
  test->limit(limited("data.test_samples", spec.test_samples, test->size(), files[2]));
  return {TextShape{tokens.vocabulary, text.block}, train, valid, test};
}

DataSummary check_text(const DataSpec& spec) {
  const DataSplits splits = open_text(spec);
  return {splits.shape, splits.train->size(), splits.valid->size(), splits.test->size()};
}

std::string text_fingerprint(const DataSpec& spec) {
  check_text_files(files_of(spec));
  return fingerprint_files(files_of(spec));
}

}  // namespace diffq
