#pragma once
// Text as a data set: the folder of WikiText-103 as distributed (wiki.train.tokens, wiki.valid.tokens,
// wiki.test.tokens: by words, the end of a line is a token, its published counts are checked), or train.txt,
// valid.txt and test.txt of any text.

#include "datasets/data_format.h"

namespace diffq {

DataSummary check_text(const DataSpec& spec);
DataSplits open_text(const DataSpec& spec);
std::string text_fingerprint(const DataSpec& spec);

inline constexpr DataFormat kText{check_text, open_text, text_fingerprint};

}  // namespace diffq
