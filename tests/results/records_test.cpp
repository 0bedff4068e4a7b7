#include "results/records.h"

#include <gtest/gtest.h>

#include "tests/results/sample_results.h"

namespace diffq {
namespace {

using nlohmann::json;

RunRecord sample_record() {
  const ResultFile results = sample_results();
  return {results.runs[0], results.epochs, results.layers, results.tracks};
}

TEST(Records, RoundTripThroughText) {
  const json first = to_json(sample_record());
  const RunRecord back = record_from_json(json::parse(first.dump()));
  EXPECT_EQ(to_json(back), first);
  EXPECT_EQ(back.run.metric, 98.76543210987654);
  EXPECT_EQ(back.run.metric_valid, HUGE_VAL);
  EXPECT_EQ(back.run.metric_fp32, -HUGE_VAL);
  EXPECT_TRUE(std::isnan(back.run.bits));
  EXPECT_EQ(back.run.seed, INT64_MAX);
  EXPECT_EQ(back.run.steps, INT64_MIN);
  EXPECT_EQ(back.run.packed_file_mb, 5e-324);
  EXPECT_EQ(back.run.compressed_file_mb, 0.125);
  EXPECT_TRUE(back.run.higher_is_better);
  ASSERT_EQ(back.epochs.size(), 2u);
  EXPECT_EQ(back.epochs[1].epoch, 2);
  ASSERT_EQ(back.layers.size(), 1u);
  EXPECT_EQ(back.layers[0].bits[15], 16);
  ASSERT_EQ(back.tracks.size(), 1u);
  EXPECT_EQ(back.tracks[0].source, "bass");
  EXPECT_TRUE(std::isnan(back.tracks[0].sir));
}

TEST(Records, NotApplicableIsNull) {
  const json written = to_json(sample_record());
  EXPECT_TRUE(written["run"]["bits"].is_null());
  EXPECT_EQ(written["run"]["lambda"], 0.1);
  EXPECT_EQ(written["layers"][0]["bits_3"], 4);
}

TEST(Records, TextThatIsNotUtf8CanStillBeSent) {
  RunRecord record;
  record.run.reason = "cannot open 'caf\xE9'";
  EXPECT_EQ(record_from_json(json::parse(to_json(record).dump())).run.reason, "cannot open 'caf\uFFFD'");
}

std::string error_of(const json& json) {
  try {
    record_from_json(json);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Records, WhatIsMissingUnknownOrOfAnotherKindIsNamed) {
  const json good = to_json(sample_record());
  json bad = good;
  bad["run"].erase("seed");
  EXPECT_EQ(error_of(bad), "result record: run: 'seed' is missing");
  bad = good;
  bad["run"]["colour"] = "red";
  EXPECT_EQ(error_of(bad), "result record: run: unknown member 'colour'");
  bad = good;
  bad.erase("layers");
  EXPECT_EQ(error_of(bad), "result record: record: 'layers' is missing");
  bad = good;
  bad["more"] = 1;
  EXPECT_EQ(error_of(bad), "result record: record: unknown member 'more'");
  bad = good;
  bad["epochs"][1]["epoch"] = 1.5;
  EXPECT_EQ(error_of(bad), "result record: epochs[1].epoch: not a whole number of 64 bits");
  bad = good;
  bad["run"]["steps"] = uint64_t{1} << 63;
  EXPECT_EQ(error_of(bad), "result record: run.steps: not a whole number of 64 bits");
  bad = good;
  bad["run"]["metric"] = "high";
  EXPECT_EQ(error_of(bad), "result record: run.metric: neither a number nor null");
  bad = good;
  bad["run"]["higher_is_better"] = 1;
  EXPECT_EQ(error_of(bad), "result record: run.higher_is_better: neither true nor false");
  bad = good;
  bad["run"]["model"] = nullptr;
  EXPECT_EQ(error_of(bad), "result record: run.model: not a string");
  EXPECT_EQ(error_of(json::array()), "result record: record: not an object");
  bad = good;
  bad["epochs"] = json::object();
  EXPECT_EQ(error_of(bad), "result record: epochs: not an array");
}

}  // namespace
}  // namespace diffq
