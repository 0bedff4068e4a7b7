#include <gtest/gtest.h>

#include "results/page_data.h"
#include "tests/results/sample_results.h"
#include "tests/results/sample_sweep.h"

namespace diffq {
namespace {

using nlohmann::json;

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Page, IsMadeOfResultsH5Alone) {
  const ResultFile file = sample_sweep({});
  const TemporaryFolder folder;
  write_results(folder.path() / "results.h5", file);
  const ResultFile back = read_results(folder.path() / "results.h5");
  EXPECT_EQ(html_report(back), html_report(file));
}

TEST(Page, IsWholeAndItsTextIsNoMarkup) {
  ResultFile file = sample_sweep({});
  file.sweep = "a <script>alert(1)</script> {{page}}";
  file.runs[0].dataset = "</script><script>alert(2)</script>";
  const std::string page = html_report(file);
  EXPECT_EQ(page.find("alert(1)</script>"), std::string::npos);
  EXPECT_EQ(page.find("</script><script>alert(2)"), std::string::npos);
  EXPECT_EQ(count_of(page, "<script"), 4u) << "data, library, charts, page";
  EXPECT_EQ(count_of(page, "</script>"), 4u);
  EXPECT_NE(page.find("<h1>a &lt;script&gt;alert(1)&lt;/script&gt; {{page}}</h1>"), std::string::npos);
  EXPECT_EQ(page.substr(page.size() - 8), "</html>\n");
}

TEST(Page, SaysHowOftenItLoadsItselfAgain) {
  const ResultFile file = sample_sweep({});
  EXPECT_NE(html_report(file).find("data-reload-seconds=\"0\""), std::string::npos);
  EXPECT_NE(html_report(file, 10).find("data-reload-seconds=\"10\""), std::string::npos);
}

TEST(Page, OfNoRunsAndOfOldResults) {
  EXPECT_NE(html_report(ResultFile{}).find("0 runs: 0 done"), std::string::npos);
  EXPECT_NE(html_report(ResultFile{}).find("of an older version of diffq"), std::string::npos);
}

TEST(PageData, RunsAreColumnsAndWhatIsNoNumberIsNull) {
  const ResultFile file = sample_sweep({});
  const json language = page_data(file)["benchmarks"][1];
  const json& runs = language["runs"];
  size_t infinite = 0;
  for (size_t i = 0; i < runs["id"].size(); ++i) {
    const auto& row = *std::find_if(file.runs.begin(), file.runs.end(),
                                    [&](const RunRow& run) { return run.run_id == runs["id"][i]; });
    EXPECT_EQ(runs["seed"][i], row.seed);
    EXPECT_EQ(runs["status"][i], row.status);
    EXPECT_EQ(language["settings"][runs["setting"][i].get<size_t>()]["method"], row.method);
    // As text, in which what is not finite is null.
    EXPECT_EQ(runs["metric"][i].dump(), json(row.metric).dump());
    infinite += row.status == "done" && runs["metric"][i].dump() == "null";
  }
  EXPECT_EQ(infinite, 1u);
  EXPECT_FALSE(language["higher_is_better"]);
  EXPECT_TRUE(language["worst_shown"].is_number()) << "ptq at 2 bits is far worse than the rest";
}

TEST(PageData, LongCurvesKeepTheirEnds) {
  SampleSweep shape;
  shape.epochs = 5000;
  const ResultFile file = sample_sweep(shape);
  const json data = page_data(file);
  size_t values = 0;
  std::vector<int> epochs;
  for (const json& benchmark : data["benchmarks"]) {
    const json& curves = benchmark["curves"];
    for (size_t i = 0; i < curves["train_loss"].size(); ++i) {
      if (!curves["epoch"][i].is_null()) epochs = curves["epoch"][i].get<std::vector<int>>();
      ASSERT_EQ(curves["train_loss"][i].size(), epochs.size());
      EXPECT_EQ(epochs.front(), 1);
      EXPECT_EQ(epochs.back(), benchmark["runs"]["status"][i] == "done" ? 5000 : 2500);
      values += 5 * epochs.size();
    }
  }
  EXPECT_LE(values, kCurveValues);
  EXPECT_GT(values, kCurveValues / 2);
}

TEST(PageData, BitsOfLayersAreMeansOverSeedsFromTheFirstLayer) {
  ResultFile file;
  for (const int64_t seed : {1, 2}) {
    RunRow run;
    run.run_id = "run" + std::to_string(seed);
    run.method = "diffq";
    run.lambda = 1;
    run.seed = seed;
    run.status = "done";
    run.config_json = R"({"seed": )" + std::to_string(seed) + "}";
    file.runs.push_back(run);
    for (const char* name : {"last.weight", "first.weight"}) {
      LayerRow layer;
      layer.run_id = run.run_id;
      layer.layer = name;
      layer.mean_bits = name[0] == 'f' ? 8 : static_cast<double>(2 * seed);
      layer.bits[2 * seed] = 100;
      file.layers.push_back(layer);
    }
  }
  const json layers = page_data(file)["benchmarks"][0]["layers"];
  EXPECT_EQ(layers["names"], json({"first.weight", "last.weight"}));
  ASSERT_EQ(layers["settings"].size(), 1u);
  EXPECT_EQ(layers["settings"][0]["mean_bits"], json({8.0, 3.0}));
  EXPECT_EQ(layers["settings"][0]["share"][2], 0.5);
  EXPECT_EQ(layers["settings"][0]["share"][4], 0.5);
}

}  // namespace
}  // namespace diffq
