// The King James Bible, where it was fetched: the known number of words, and how well counting predicts the
// test part. A model that does no better has learnt nothing.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <unordered_map>

#include "datasets/dataset.h"
#include "datasets/token_file.h"
#include "datasets/tokens.h"

namespace diffq {
namespace {

class Kjv : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("DIFFQ_DATA");
    const std::string root =
        (data != nullptr && *data != '\0' ? std::string(data) : DIFFQ_SOURCE_DIR "/data") + "/kjv";
    if (!std::filesystem::exists(root))
      GTEST_SKIP() << "no text in " << root << "; run scripts/fetch_data.sh kjv";
    tokens_ = open_tokens(root, {root + "/train.txt", root + "/valid.txt", root + "/test.txt"},
                          {.vocabulary = 10'000});
    counts_.resize(static_cast<size_t>(tokens_.vocabulary));
    for (const int32_t token : tokens_.parts[0]) ++counts_[static_cast<size_t>(token)];
  }

  double share(int32_t token) const {
    return static_cast<double>(counts_[static_cast<size_t>(token)]) /
           static_cast<double>(tokens_.parts[0].size());
  }

  TokenParts tokens_;
  std::vector<int64_t> counts_;
};

TEST_F(Kjv, HasTheKnownWords) {
  EXPECT_EQ(tokens_.vocabulary, 10'000);
  EXPECT_EQ(tokens_.parts[0].size(), 822'966u);
  const std::span<const int32_t> test = tokens_.parts[2];
  const double unknown =
      static_cast<double>(std::ranges::count(test, kUnknown)) / static_cast<double>(test.size());
  EXPECT_NEAR(100 * unknown, 2.51, 0.005);
}

TEST_F(Kjv, UnigramPerplexity) {
  double sum = 0;
  for (const int32_t token : tokens_.parts[2]) sum -= std::log(share(token));
  EXPECT_NEAR(std::exp(sum / static_cast<double>(tokens_.parts[2].size())), 353, 1);
}

// Interpolated with the unigram, at the weight that is best on the validation part.
TEST_F(Kjv, BigramPerplexity) {
  const auto pair = [](int32_t first, int32_t second) { return (int64_t{first} << 32) | second; };
  std::unordered_map<int64_t, int64_t> pairs;
  const std::span<const int32_t> train = tokens_.parts[0];
  for (size_t i = 1; i < train.size(); ++i) ++pairs[pair(train[i - 1], train[i])];
  const auto perplexity = [&](std::span<const int32_t> part, double weight) {
    double sum = 0;
    for (size_t i = 1; i < part.size(); ++i) {
      const auto found = pairs.find(pair(part[i - 1], part[i]));
      const double together = found == pairs.end() ? 0 : static_cast<double>(found->second);
      const auto before = static_cast<double>(counts_[static_cast<size_t>(part[i - 1])]);
      sum -= std::log(weight * together / before + (1 - weight) * share(part[i]));
    }
    return std::exp(sum / static_cast<double>(part.size() - 1));
  };
  double best = 0.05;
  for (double weight = 0.05; weight < 1; weight += 0.05) {
    if (perplexity(tokens_.parts[1], weight) < perplexity(tokens_.parts[1], best)) best = weight;
  }
  EXPECT_NEAR(perplexity(tokens_.parts[2], best), 142, 1) << "weight " << best;
}

}  // namespace
}  // namespace diffq
