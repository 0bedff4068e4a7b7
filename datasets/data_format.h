#pragma once
// What a kind of data set gives to dataset.cpp, and what all kinds share.

#include <string>

#include "datasets/dataset.h"

namespace diffq {

/// As the functions of dataset.h.
struct DataFormat {
  DataSummary (*check)(const DataSpec& spec);
  DataSplits (*open)(const DataSpec& spec);
  std::string (*fingerprint)(const DataSpec& spec);
};

struct PartSize {
  int64_t count = 0;
  std::string path;  ///< for messages
};

/// How many samples are used to train, held out and tested on, of those that are there. No shape yet.
DataSummary divide(const DataSpec& spec, const PartSize& train, const PartSize& test);

/// How many of `there` samples are used when `asked` (0: all) were asked for.
int64_t limited(const std::string& key, int64_t asked, int64_t there, const std::string& of);

void check_not_negative(const std::string& key, int64_t value);

}  // namespace diffq
