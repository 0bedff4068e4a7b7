#include "launcher/load_sweep.h"

#include <set>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"
#include "trainer/model_file.h"
#include "trainer/task.h"

namespace diffq {
namespace {

class LoadSweepTest : public testing::Test {
 protected:
  LoadSweepTest() {
    write_idx_set(data(), {});
    write();
  }

  std::filesystem::path data() const { return folder_.path() / "data"; }
  std::string file() const { return (folder_.path() / "s.json").string(); }
  nlohmann::json& benchmark() { return json_["benchmarks"][0]; }
  void write() {
    benchmark()["data"]["root"] = data().string();
    write_text(file(), json_.dump());
  }
  std::string refusal() {
    write();
    return message_of<std::invalid_argument>([&] { load_sweep(file(), {}); });
  }
  std::string prefix() const { return file() + ": benchmarks[0]: "; }
  std::string folder_refusal(const std::filesystem::path& folder, const Sweep& sweep) {
    return message_of<std::invalid_argument>([&] { prepare_folder(folder, sweep); });
  }

  TemporaryFolder folder_;
  nlohmann::json json_ = nlohmann::json::parse(R"({"sweep": "s", "seeds": [1, 2], "benchmarks": [{
      "data": {"name": "idx", "root": "", "valid_samples": 32}, "model": {"name": "small_cnn"},
      "train": {"batch_size": 32}, "methods": [{"method": "fp32"}, {"method": "ptq", "bits": [2, 3]}]}]})");
};

TEST_F(LoadSweepTest, KnowsTheShapeOfEachRunsData) {
  const LoadedSweep loaded = load_sweep(file(), {});
  EXPECT_EQ(loaded.sweep.runs.size(), 6u);
  ASSERT_EQ(loaded.data.size(), 6u);
  for (const DataSummary& each : loaded.data) {
    const auto& shape = std::get<ImageShape>(each.shape);
    EXPECT_EQ(shape.height, 12);
    EXPECT_EQ(shape.channels, 1);
    EXPECT_EQ(shape.classes, 4);
  }
}

TEST_F(LoadSweepTest, WarnsOnceOfWhatCanNotGiveWhatIsExpected) {
  const auto warnings = [&] {
    write();
    return load_sweep(file(), {}).warnings;
  };
  const auto one_says = [&](const std::string& what) {
    const auto all = warnings();
    return all.size() == 1 && all[0].find(what) != std::string::npos ? "" : nlohmann::json(all).dump();
  };
  EXPECT_TRUE(warnings().empty());
  benchmark()["train"]["epochs"] = 1;
  benchmark()["methods"] =
      nlohmann::json::parse(R"([{"method": "fp32"}, {"method": "diffq", "lambda": [1, 2]}])");
  EXPECT_EQ(one_says("s.json: benchmarks[0].methods[1]: "), "");
  EXPECT_EQ(one_says("steps with bits_lr 0.001 move a logit of the bits by at most 0.0"), "");
  benchmark()["methods"][1]["bits_lr"] = 1;
  EXPECT_TRUE(warnings().empty());

  benchmark()["quant"]["exclude"] = {"*.bias", "nothing.matches"};
  EXPECT_EQ(one_says("benchmarks[0].quant.exclude: \"nothing.matches\" is the name of no weight"), "");
  benchmark()["quant"]["exclude"] = {"*"};
  EXPECT_EQ(one_says("benchmarks[0].quant: no tensor is left to quantise"), "");
  benchmark()["quant"] = {{"min_size_mb", 100}};
  EXPECT_EQ(one_says("no tensor is left to quantise"), "");
  benchmark()["methods"].erase(1);
  EXPECT_TRUE(warnings().empty()) << "fp32 quantises nothing";
}

TEST_F(LoadSweepTest, OtherRanksReadTheSameRunsWithoutFiles) {
  nlohmann::json second = benchmark();
  second["data"]["train_samples"] = 64;
  json_["benchmarks"].push_back(second);
  write();
  json_["benchmarks"][1]["data"]["root"] = data().string();
  write_text(file(), json_.dump());
  const LoadedSweep loaded = load_sweep(file(), {"benchmarks.0.train.epochs=7"});
  std::filesystem::remove_all(data());
  std::filesystem::remove(file());
  const Sweep other = read_broadcast_sweep(loaded.text);
  ASSERT_EQ(other.runs.size(), loaded.sweep.runs.size());
  EXPECT_EQ(other.runs[0].spec.train.epochs, 7);
  for (size_t i = 0; i < other.runs.size(); ++i) {
    EXPECT_EQ(other.runs[i].run_id, loaded.sweep.runs[i].run_id);
    EXPECT_EQ(other.runs[i].config, loaded.sweep.runs[i].config);
    EXPECT_EQ(other.runs[i].spec.data.root, loaded.sweep.runs[i].spec.data.root);
    EXPECT_EQ(other.runs[i].depends_on, loaded.sweep.runs[i].depends_on);
  }
}

TEST_F(LoadSweepTest, RunsOnOtherDataAreOtherRuns) {
  const std::string before = load_sweep(file(), {}).sweep.runs[0].run_id;
  EXPECT_EQ(load_sweep(file(), {}).sweep.runs[0].run_id, before);
  write_idx_set(data(), {.seed = 2});
  EXPECT_NE(load_sweep(file(), {}).sweep.runs[0].run_id, before);
}

TEST_F(LoadSweepTest, TheSweepFileItself) {
  const std::string missing = (folder_.path() / "none.json").string();
  EXPECT_EQ(message_of<std::invalid_argument>([&] { load_sweep(missing, {}); }),
            missing +
                ": can't be read: No such file or directory; give the path of a sweep file, such as "
                "sweeps/demo.json");
  const std::string folder = folder_.path().string();
  EXPECT_NE(message_of<std::invalid_argument>([&] {
              load_sweep(folder, {});
            }).find(": can't be read: it is a folder;"),
            std::string::npos);
}

TEST_F(LoadSweepTest, DataThatIsNotThere) {
  std::filesystem::remove(data() / "train-labels-idx1-ubyte");
  EXPECT_EQ(refusal().find((data() / "train-labels-idx1-ubyte").string()), 0u) << refusal();
}

TEST_F(LoadSweepTest, DataThatIsCutShort) {
  const auto images = data() / "train-images-idx3-ubyte";
  std::filesystem::resize_file(images, std::filesystem::file_size(images) - 1);
  const std::string message = refusal();
  EXPECT_EQ(message.substr(0, prefix().size()), prefix()) << message;
  EXPECT_NE(message.find(images.string()), std::string::npos) << message;
}

TEST_F(LoadSweepTest, NothingHeldOut) {
  benchmark()["data"]["valid_samples"] = 0;
  EXPECT_NE(refusal().find("data.valid_samples: "), std::string::npos) << refusal();
}

TEST_F(LoadSweepTest, ABatchLargerThanTheData) {
  benchmark()["train"]["batch_size"] = 225;
  EXPECT_EQ(refusal(),
            prefix() + "train.batch_size: 225 is more than the 224 training samples; choose a smaller one");
  benchmark()["train"]["batch_size"] = 224;
  EXPECT_EQ(refusal(), "");
}

TEST_F(LoadSweepTest, ATargetLiesBetweenTheLeastSizeAndTheStart) {
  // conv1 400, conv2 12800, linear1 64 x 288, linear2 256 weights, of which two are large enough; the kept
  // ones.
  const double kept = 32 * (400 + 256 + 16 + 32 + 64 + 4 + 2 * (16 + 32)), groups = (12800 + 18432) / 8;
  const double least = (kept + 2 * (12800 + 18432) + 2 * 72) / 8 / 1048576;
  const double start = (kept + 8 * (12800 + 18432) + 2 * 72 + 3 * groups) / 8 / 1048576;
  const auto with_target = [&](double target_mb) {
    benchmark()["methods"] = {{{"method", "diffq"}, {"target_mb", {0.02, target_mb}}}};
    return refusal();
  };
  EXPECT_EQ(with_target(least * 1.001), "");
  EXPECT_EQ(with_target(start * 0.999), "");
  for (const double target : {least * 0.999, start * 1.001}) {
    char text[200];
    std::snprintf(
        text, sizeof(text),
        "must be from %.6g, the least size (all at min_bits), to %.6g, the size at the start (all at "
        "init_bits), not %.6g",
        least, start, target);
    EXPECT_EQ(with_target(target), file() + ": benchmarks[0].methods[0].target_mb: " + text);
  }
}

TEST_F(LoadSweepTest, AModelThatCannotTakeTheData) {
  write_idx_set(data(), {.height = 2, .width = 2});
  const std::string message = refusal();
  EXPECT_EQ(message.substr(0, file().size()), file()) << message;
  EXPECT_NE(message.find("small_cnn"), std::string::npos) << message;
}

TEST_F(LoadSweepTest, TheOutputFolderIsMadeAndTakenAgain) {
  const auto out = folder_.path() / "deep" / "out";
  Sweep sweep = load_sweep(file(), {}).sweep;
  check_folder(out, sweep);
  EXPECT_FALSE(std::filesystem::exists(out)) << "checking makes nothing";
  prepare_folder(out, sweep);
  EXPECT_TRUE(std::filesystem::is_directory(out / "runs"));
  EXPECT_EQ(nlohmann::json::parse(content_of(out / "sweep.json")), sweep.resolved);
  EXPECT_EQ(folder_refusal(out, sweep), "");
}

TEST_F(LoadSweepTest, WeightsToStartFromMustBeThoseOfTheModel) {
  const std::string sound = (folder_.path() / "sound.json").string(),
                    start = (folder_.path() / "w.safetensors").string();
  std::filesystem::copy_file(file(), sound);
  benchmark()["methods"] = {{{"method", "qat"}, {"bits", 3}, {"start", start}}};
  EXPECT_EQ(refusal().find(file() + ": start: " + start + ": "), 0u) << refusal();
  write_text(start, "not safetensors");
  EXPECT_EQ(
      refusal().find(file() + ": benchmarks[0].methods[0].start: " + start + ": not a safetensors file"), 0u)
      << refusal();

  const auto shape = std::get<ImageShape>(load_sweep(sound, {}).data[0].shape);
  const auto write_weights = [&](const ModelSpec& spec, const ImageShape& of) {
    const auto task = make_task({.model = spec}, of);
    const auto quantizer = make_quantizer({}, {});
    const ParameterStore store(task->module(), *quantizer);
    write_model(start, pack_model(store, *quantizer, Coding::bits, "{}"));
  };
  write_weights({ModelName::small_cnn}, {1, 28, 28, 7});
  const std::string message = refusal();
  EXPECT_NE(message.find(start + ": is of another model: "), std::string::npos) << message;
  EXPECT_NE(message.find("linear2.weight is [7, 64], the model's is ["), std::string::npos) << message;
  write_weights({ModelName::small_cnn}, shape);
  write();
  const LoadedSweep loaded = load_sweep(file(), {});
  const Sweep same = read_broadcast_sweep(loaded.text);
  ASSERT_EQ(loaded.sweep.runs.size(), 2u);
  EXPECT_EQ(same.runs[1].run_id, loaded.sweep.runs[1].run_id);
}

TEST_F(LoadSweepTest, TheFolderOfAnotherSweepIsRefusedAndLeftAsItIs) {
  const auto out = folder_.path() / "out";
  Sweep sweep = load_sweep(file(), {}).sweep;
  prepare_folder(out, sweep);
  const std::string before = content_of(out / "sweep.json");
  sweep.name = "other";
  EXPECT_EQ(folder_refusal(out, sweep),
            out.string() + ": holds the sweep \"s\", not \"other\"; give another --out");
  EXPECT_EQ(content_of(out / "sweep.json"), before);
  for (const std::string text : {"", "{", "[]", "{}", "{\"sweep\": 5}"}) {
    write_text(out / "sweep.json", text);
    EXPECT_EQ(folder_refusal(out, sweep),
              out.string() + ": holds a sweep.json that can't be read, not \"other\"; give another --out")
        << text;
  }
}

TEST_F(LoadSweepTest, AFolderOfNoSweepKeepsWhatASweepWouldOverwrite) {
  const Sweep sweep = load_sweep(file(), {}).sweep;
  const auto out = folder_.path() / "mine";
  std::filesystem::create_directories(out);
  write_text(out / "slurm-1.out", "");
  write_text(out / "report.md", "my own");
  EXPECT_EQ(
      folder_refusal(out, sweep),
      out.string() +
          ": is not of a sweep, and holds report.md, which a sweep would overwrite; give another --out");
  EXPECT_FALSE(std::filesystem::exists(out / "runs"));
  write_text(out / "journal.jsonl", "");  // of a sweep that has lost its sweep.json
  EXPECT_EQ(folder_refusal(out, sweep), "");
  std::filesystem::remove_all(out);
  std::filesystem::create_directories(out);
  write_text(out / "slurm-1.out", "");
  EXPECT_EQ(folder_refusal(out, sweep), "") << "other files may lie there";
}

TEST_F(LoadSweepTest, PartsKeepTheirDataAndWhatTheyStartFrom) {
  const auto other = folder_.path() / "other";
  std::filesystem::create_directories(other);
  write_idx_set(other, {.height = 16, .width = 16});
  write();
  json_["benchmarks"].push_back(benchmark());
  json_["benchmarks"][1]["data"]["root"] = other.string();
  write_text(file(), json_.dump());
  const LoadedSweep all = load_sweep(file(), {});
  ASSERT_EQ(all.sweep.runs.size(), 12u);
  const std::vector<size_t> kept = select_shard(all.sweep, "1/2");
  const LoadedSweep part = part_of(all, kept);
  ASSERT_EQ(part.sweep.runs.size(), kept.size());
  ASSERT_EQ(part.data.size(), kept.size());
  std::set<int64_t> heights;
  for (size_t run = 0; run < kept.size(); ++run) {
    EXPECT_EQ(part.sweep.runs[run].run_id, all.sweep.runs[kept[run]].run_id);
    EXPECT_EQ(part.sweep.runs[run].depends_on, run % 3 == 0 ? -1 : int(run / 3 * 3));
    const auto height = std::get<ImageShape>(part.data[run].shape).height;
    EXPECT_EQ(height, std::get<ImageShape>(all.data[kept[run]].shape).height);
    heights.insert(height);
  }
  EXPECT_EQ(kept.size(), 6u);
  EXPECT_EQ(heights.size(), 2u) << "of both data sets";
}

TEST_F(LoadSweepTest, AFolderThatCannotBeMadeIsRefused) {
  const Sweep sweep = load_sweep(file(), {}).sweep;
  for (const std::filesystem::path out :
       {file() + "/out", std::string("/proc/diffq"), folder_.path().string() + "/" + std::string(300, 'x')}) {
    const std::string message = folder_refusal(out, sweep);
    EXPECT_EQ(message.find(out.string() + ": can't be written: "), 0u) << message;
    EXPECT_NE(message.find("; give another --out"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace diffq
