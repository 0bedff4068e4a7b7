// Text as samples: numbers of words, blocks with and without context, the file of tokens, errors.

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include "datasets/dataset.h"
#include "datasets/text_dataset.h"
#include "datasets/tokens.h"
#include "datasets/utf8_text.h"
#include "datasets/warning.h"
#include "tests/support/idx_files.h"
#include "tests/support/text_files.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

TEST(Tokens, TheMoreFrequentHaveLowerNumbersThenThoseThatComeFirst) {
  const Tokens tokens = make_tokens({"b c a\na  b\td <unk>\r\n", "a x\n\nb", "<eos> d"}, {});
  EXPECT_EQ(tokens.vocabulary, 6);
  EXPECT_EQ(tokens.parts[0], (Ids{2, 4, 3, 3, 2, 5, 1}));
  EXPECT_EQ(tokens.parts[1], (Ids{3, 1, 2}));
  EXPECT_EQ(tokens.parts[2], (Ids{0, 5}));
}

TEST(Tokens, EndsOfLinesAndTheSizeOfTheVocabulary) {
  const TextSpec spec{.vocabulary = 4, .line_ends = true};
  const Tokens tokens = make_tokens({"b c a\n\na b", "\n", "c"}, spec);
  EXPECT_EQ(tokens.vocabulary, 4);
  EXPECT_EQ(tokens.parts[0], (Ids{2, 1, 3, 0, 0, 3, 2, 0})) << "a last line without its end has one";
  EXPECT_EQ(tokens.parts[1], (Ids{0}));
  EXPECT_EQ(tokens.parts[2], (Ids{1, 0}));
}

TEST(Tokens, Characters) {
  const Tokens tokens = make_tokens({"aé€é\n", "𝄞a", "é"}, {.unit = TextUnit::character});
  EXPECT_EQ(tokens.vocabulary, 6);
  EXPECT_EQ(tokens.parts[0], (Ids{3, 2, 4, 2, 5}));
  EXPECT_EQ(tokens.parts[1], (Ids{1, 3}));
}

TEST(Utf8, TakesWhatTheStandardTakes) {
  for (const std::string text : {"a", "é", "€", "𝄞", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_EQ(character_bytes(text), text.size());
  for (const std::string text :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"})
    EXPECT_EQ(character_bytes(text), 0u);
  EXPECT_EQ(find_invalid_utf8("é€"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("é\xFFx"), 2u);
}

// Against the plain rule: every token is the target of one place, and the input there are the tokens before
// it.
TEST(TextDataset, EachTokenCountsOnceWithItsContextBefore) {
  for (int32_t count = 1; count <= 13; ++count) {
    TokenParts tokens;
    const auto all = std::make_shared<Ids>();
    for (int32_t i = 0; i < count; ++i) all->push_back(10 + i);
    tokens.parts[2] = *all;
    tokens.owner = all;
    for (int64_t block = 1; block <= 6; ++block) {
      for (int64_t context = 0; context < block; ++context) {
        SCOPED_TRACE(testing::Message() << count << " tokens, block " << block << ", context " << context);
        const TextDataset data(tokens, 2, block, block - context, /*whole=*/false);
        std::vector<int> seen(static_cast<size_t>(count));
        for (int64_t sample = 0; sample < data.size(); ++sample) {
          const Batch batch = data.batch({&sample, 1}, {});
          ASSERT_EQ(batch.input.sizes(), (std::vector<int64_t>{1, block}));
          for (int64_t i = 0; i < block; ++i) {
            const int64_t target = batch.target[0][i].item<int64_t>();
            if (target == kNoTarget) continue;
            const int64_t place = target - 10;
            ++seen[static_cast<size_t>(place)];
            EXPECT_TRUE(place < block || i >= context) << "too little context";
            for (int64_t back = 0; back <= i; ++back) {
              const int64_t before = place - 1 - back;
              EXPECT_EQ(batch.input[0][i - back].item<int64_t>(), before < 0 ? kLineEnd : 10 + before);
            }
          }
        }
        EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(count), 1));
        const TextDataset whole(tokens, 2, block, block, /*whole=*/true);
        EXPECT_EQ(whole.size(), count / block);
      }
    }
  }
}

class TextFolder : public ::testing::Test {
 protected:
  TextFolder() {
    setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
    write_texts(root(), some_words(400, 30, 1), some_words(50, 40, 2), some_words(60, 40, 3));
    spec_.name = DataName::text;
    spec_.root = root().string();
    spec_.text.block = 16;
  }
  ~TextFolder() override { unsetenv("XDG_CACHE_HOME"); }

  fs::path root() const { return folder_.path() / "data"; }

  std::vector<fs::path> kept_in(const fs::path& folder) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().filename().string().find("tokens-") != std::string::npos)
        found.push_back(entry.path());
    }
    return found;
  }

  static at::Tensor all_of(const Dataset& data) {
    std::vector<int64_t> samples(static_cast<size_t>(data.size()));
    for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
    return data.batch(samples, {}).target;
  }

  void expect_error(const std::vector<std::string>& parts) const {
    for (const bool open : {false, true}) {
      try {
        open ? void(open_data(spec_)) : void(check_data(spec_));
        ADD_FAILURE() << "no error that says " << parts[0];
      } catch (const std::invalid_argument& error) {
        for (const std::string& part : parts)
          EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
              << error.what() << "\nlacks " << part;
      }
    }
  }

  TemporaryFolder folder_;
  DataSpec spec_;
};

TEST_F(TextFolder, SummaryAndSplitsAgree) {
  const DataSummary summary = check_data(spec_);
  const DataSplits splits = open_data(spec_);
  std::istringstream words(some_words(400, 30, 1));
  const std::set<std::string> different{std::istream_iterator<std::string>(words), {}};
  EXPECT_EQ(std::get<TextShape>(summary.shape).vocabulary,
            static_cast<int64_t>(different.size()) + kOwnTokens);
  EXPECT_EQ(std::get<TextShape>(splits.shape).block, 16);
  EXPECT_EQ(summary.train, 25);
  EXPECT_EQ(summary.valid, 4);
  EXPECT_EQ(summary.test, 4);
  EXPECT_EQ(splits.train->size(), 25);
  EXPECT_EQ(splits.test->size(), 4);
  spec_.train_samples = 7;
  spec_.test_samples = 2;
  EXPECT_EQ(check_data(spec_).train, 7);
  EXPECT_EQ(open_data(spec_).test->size(), 2);
}

TEST_F(TextFolder, TokensAreMadeOnceForEachSetting) {
  const at::Tensor first = all_of(*open_data(spec_).test);
  ASSERT_EQ(kept_in(root()).size(), 1u);
  const fs::path kept = kept_in(root())[0];
  const auto made = fs::last_write_time(kept);
  fs::permissions(kept, fs::perms::owner_read);
  EXPECT_TRUE(all_of(*open_data(spec_).test).equal(first));
  EXPECT_EQ(fs::last_write_time(kept), made) << "not made again";
  spec_.text.vocabulary = 9;
  EXPECT_EQ(std::get<TextShape>(open_data(spec_).shape).vocabulary, 9);
  EXPECT_EQ(kept_in(root()).size(), 2u);
}

TEST_F(TextFolder, ChangedTextsAndTornFilesAreNoticed) {
  const at::Tensor before = all_of(*open_data(spec_).test);
  const std::string fingerprint_before = fingerprint(spec_);
  write_text(root() / "test.txt", some_words(60, 40, 8));
  const at::Tensor after = all_of(*open_data(spec_).test);
  EXPECT_FALSE(after.equal(before));
  EXPECT_NE(fingerprint(spec_), fingerprint_before);
  const fs::path kept = kept_in(root())[0];
  for (const uintmax_t size : {fs::file_size(kept) - 4, uintmax_t{20}, uintmax_t{0}}) {
    fs::resize_file(kept, size);
    EXPECT_TRUE(all_of(*open_data(spec_).test).equal(after)) << size;
  }
}

TEST_F(TextFolder, WhereTheFolderCantBeWrittenTheCacheIsUsedThenMemory) {
  const at::Tensor expected = all_of(*open_data(spec_).test);
  const fs::path kept = kept_in(root())[0];
  fs::remove(kept);
  fs::create_directories(kept / "in the way");
  EXPECT_TRUE(all_of(*open_data(spec_).test).equal(expected));
  EXPECT_EQ(kept_in(folder_.path() / "cache/diffq").size(), 1u);

  fs::remove_all(folder_.path() / "cache");
  write_text(folder_.path() / "cache", "in the way");
  std::vector<std::string> warnings;
  set_data_warning([&](const std::string& text) { warnings.push_back(text); });
  EXPECT_TRUE(all_of(*open_data(spec_).test).equal(expected));
  set_data_warning({});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find(kept.string() + ": can't be written"), std::string::npos) << warnings[0];
}

TEST_F(TextFolder, ManyMayOpenItAtOnce) {
  std::vector<at::Tensor> found(8);
  std::vector<std::thread> threads;
  for (at::Tensor& each : found) threads.emplace_back([&] { each = all_of(*open_data(spec_).train); });
  for (std::thread& thread : threads) thread.join();
  for (const at::Tensor& each : found) EXPECT_TRUE(each.equal(found[0]));
  EXPECT_EQ(kept_in(root()).size(), 1u) << "nothing temporary is left";
}

TEST_F(TextFolder, Errors) {
  spec_.text.block = 401;
  expect_error(
      {"train.txt: has 400 tokens, fewer than one block (data.block: 401)", "choose smaller blocks"});
  spec_.text.block = 16;
  spec_.text.context = 16;
  expect_error({"data.context: 16 must be at least 0 and below data.block, 16"});
  spec_.text.context = 0;
  spec_.text.vocabulary = 2;
  expect_error({"data.vocabulary: 2 leaves no word"});
  spec_.text.vocabulary = 0;
  spec_.train_samples = 26;
  expect_error({"data.train_samples: 26 samples were asked for, but there are 25"});
  spec_.train_samples = 0;

  write_text(root() / "valid.txt", "good\nb\xC3(\n");
  expect_error({"valid.txt: is not UTF-8: byte 6, in line 2"});
  write_text(root() / "valid.txt", " \n\t\n");
  expect_error({"valid.txt: holds no words"});
  write_text(root() / "valid.txt", "");
  expect_error({"valid.txt: is empty"});
  fs::remove(root() / "valid.txt");
  expect_error({"valid.txt: is not there", "train.txt, valid.txt and test.txt"});
  EXPECT_THROW(fingerprint(spec_), std::invalid_argument);
  fs::create_directories(root() / "valid.txt");
  expect_error({"valid.txt: is not a file"});
}

TEST_F(TextFolder, WikiTextIsKnownByItsCounts) {
  spec_.name = DataName::wikitext103;
  expect_error({"wiki.train.tokens: is not there"});
  for (const std::string part : {"train", "valid", "test"})
    fs::copy_file(root() / (part + ".txt"), root() / ("wiki." + part + ".tokens"));
  expect_error({"wiki.train.tokens: has 440 tokens, WikiText-103 has 103227021", "\"name\": \"text\""});
}

}  // namespace
}  // namespace diffq
