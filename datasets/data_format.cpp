#include "datasets/data_format.h"

#include "datasets/fail.h"

namespace diffq {

int64_t limited(const std::string& key, int64_t asked, int64_t there, const std::string& of) {
  check_not_negative(key, asked);
  if (asked > there) {
    fail(key, std::to_string(asked) + " samples were asked for, but there are " + std::to_string(there) +
                  " in " + of + "; ask for at most so many, or 0 for all");
  }
  return asked == 0 ? there : asked;
}

void check_not_negative(const std::string& key, int64_t value) {
  if (value < 0) fail(key, std::to_string(value) + " is negative; it must be 0 or more");
}

DataSummary divide(const DataSpec& spec, const PartSize& train, const PartSize& test) {
  check_not_negative("data.valid_samples", spec.valid_samples);
  if (spec.valid_samples >= train.count) {
    fail("data.valid_samples", std::to_string(spec.valid_samples) + " samples can't be held out of the " +
                                   std::to_string(train.count) + " in " + train.path + "; at most " +
                                   std::to_string(train.count - 1) + " leave something to train on");
  }
  DataSummary summary;
  summary.valid = spec.valid_samples;
  summary.train = limited("data.train_samples", spec.train_samples, train.count - summary.valid,
                          train.path + " besides the " + std::to_string(summary.valid) + " held out");
  summary.test = limited("data.test_samples", spec.test_samples, test.count, test.path);
  return summary;
}

}  // namespace diffq
