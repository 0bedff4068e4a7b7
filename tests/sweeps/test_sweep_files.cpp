// The sweep files that ship are valid and say what their comments promise.

#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

TEST(SweepFiles, Demo) {
  const Sweep sweep = read_text(shipped("demo.json"));
  EXPECT_EQ(sweep.name, "demo");
  ASSERT_EQ(sweep.runs.size(), 2u * (1 + 3 + 4) + (1 + 1 + 2) + (1 + 1 + 2));
  EXPECT_EQ(sweep.runs[16].spec.data.name, DataName::text);
  EXPECT_EQ(sweep.runs[20].spec.data.name, DataName::openmsx_synthesised);
  std::set<std::string> ids;
  for (const auto& run : sweep.runs) ids.insert(run.run_id);
  EXPECT_EQ(ids.size(), sweep.runs.size());
  const RunSpec& last = sweep.runs[4].spec;
  EXPECT_EQ(last.method.method, Method::diffq);
  EXPECT_EQ(last.method.group_size, 8);
  const auto steps = double(last.train.epochs * (50000 / last.train.batch_size));
  // A logit moves by at most bits_lr a step: enough to cross the range of bits, and no more than that.
  EXPECT_GE(steps * last.method.bits_lr, 4);
  EXPECT_LE(steps * last.method.bits_lr, 8);
}

TEST(SweepFiles, ImageSmall) {
  const Sweep sweep = read_text(shipped("image_small.json"));
  EXPECT_EQ(sweep.name, "image_small");
  ASSERT_EQ(sweep.runs.size(), 1u + 4 + 4 + 4 + 5);
  for (const auto& run : sweep.runs) {
    EXPECT_EQ(run.spec.model.name, ModelName::resnet20);
    EXPECT_EQ(run.spec.data.augment.shift, 2);
  }
}

TEST(SweepFiles, AblationHasEveryOptionAloneAndTogetherAtThreeSizes) {
  const Sweep sweep = read_text(shipped("ablation.json"));
  ASSERT_EQ(sweep.runs.size(), 3u * (5 * (1 + 3 + 3 + 6) + 3 * 17 + 3 * 4) + 3 * 3 + 6 * 3);
  std::map<DataName, std::set<double>> targets;
  std::map<DataName, std::set<std::string>> settings;  // of DiffQ, but for the size
  for (const auto& run : sweep.runs) {
    if (run.spec.method.method != Method::diffq) continue;
    if (run.spec.method.target_mb == 0) continue;  // at a λ, to hold the targets against
    targets[run.spec.data.name].insert(run.spec.method.target_mb);
    nlohmann::json method = run.config["method"];
    method.erase("target_mb");
    settings[run.spec.data.name].insert(method.dump() + run.config["eval"].dump());
    const double steps = run.spec.data.name == DataName::mnist  ? 200
                         : run.spec.data.name == DataName::text ? 401
                                                                : 166;
    EXPECT_GE(steps * run.spec.method.bits_lr, 4) << run.origin;
    EXPECT_LE(steps * run.spec.method.bits_lr, 9) << run.origin;
  }
  for (const auto& [data, sizes] : targets) EXPECT_EQ(sizes.size(), 3u);
  for (const auto& [data, different] : settings)
    EXPECT_EQ(different.size(), data == DataName::mnist ? 9u : 8u);
}

TEST(SweepFiles, MethodsIsTheDemoWithAllMethodsAndThreeSeeds) {
  const Sweep sweep = read_text(shipped("methods.json"));
  std::set<Method> methods;
  std::set<uint64_t> seeds;
  for (const auto& run : sweep.runs) {
    methods.insert(run.spec.method.method);
    seeds.insert(run.spec.seed);
    EXPECT_EQ(run.spec.model.name, ModelName::small_cnn);
  }
  EXPECT_EQ(methods.size(), 5u);
  EXPECT_EQ(seeds.size(), 3u);
}

TEST(SweepFiles, Cifar10ResNet18IsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("cifar10_resnet18.json"));
  EXPECT_EQ(sweep.name, "cifar10_resnet18");
  ASSERT_EQ(sweep.runs.size(), 3u * (1 + 4 + 4 + 4 + 5));
  std::set<double> lambdas;
  for (const auto& run : sweep.runs) {
    const RunSpec& spec = run.spec;
    EXPECT_EQ(spec.data.name, DataName::cifar10);
    EXPECT_EQ(spec.model.name, ModelName::resnet18);
    EXPECT_EQ(spec.data.augment.shift, 4);
    EXPECT_TRUE(spec.data.augment.flip);
    EXPECT_EQ(spec.train.max_grad_norm, 5);
    EXPECT_EQ(spec.train.batch_size, 128);
    EXPECT_EQ(spec.train.optimizer.weight_decay, 5e-4);
    EXPECT_TRUE(spec.train.optimizer.nesterov);
    if (spec.method.method != Method::ptq) {
      EXPECT_EQ(spec.train.epochs, 200);
      EXPECT_EQ(spec.train.schedule.name, ScheduleName::step);
      EXPECT_EQ(spec.train.schedule.every_epochs, 60);
      EXPECT_EQ(spec.train.schedule.factor, 0.2);
    }
    EXPECT_EQ(spec.train.optimizer.lr, spec.method.method == Method::lsq ? 0.01 : 0.1);
    if (spec.method.method == Method::diffq) {
      EXPECT_EQ(spec.method.group_size, 16);
      EXPECT_EQ(spec.method.bits_lr, 1e-3);
      lambdas.insert(spec.method.lambda);
    }
  }
  EXPECT_TRUE(lambdas.contains(5));
}

/// Bits of all runs of a method.
std::multiset<int> bits_of(const Sweep& sweep, Method method) {
  std::multiset<int> bits;
  for (const auto& run : sweep.runs) {
    if (run.spec.method.method == method) bits.insert(run.spec.method.bits);
  }
  return bits;
}

const std::multiset<int> kBitsOfThreeSeeds{2, 2, 2, 3, 3, 3, 4, 4, 4, 8, 8, 8};

TEST(SweepFiles, Cifar10ResNet20IsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("cifar10_resnet20.json"));
  EXPECT_EQ(sweep.name, "cifar10_resnet20");
  ASSERT_EQ(sweep.runs.size(), 3u * (1 + 4 + 4 + 4 + 5));
  for (const Method method : {Method::qat, Method::lsq}) EXPECT_EQ(bits_of(sweep, method), kBitsOfThreeSeeds);
  for (const auto& run : sweep.runs) {
    const RunSpec& spec = run.spec;
    EXPECT_EQ(spec.data.name, DataName::cifar10);
    EXPECT_EQ(spec.model.name, ModelName::resnet20);
    EXPECT_EQ(spec.train.batch_size, 128);
    EXPECT_EQ(spec.train.optimizer.weight_decay, 2e-4);
    EXPECT_EQ(spec.quant.min_size_mb, 0);
    EXPECT_EQ(spec.quant.exclude, std::vector<std::string>{"*.bias"});
    EXPECT_EQ(spec.train.optimizer.lr, spec.method.method == Method::lsq ? 0.01 : 0.1);
    if (spec.method.method != Method::ptq) {
      EXPECT_EQ(spec.train.epochs, 600);
      EXPECT_EQ(spec.train.schedule.every_epochs, 200);
      EXPECT_EQ(spec.train.schedule.factor, 0.1);
    }
    if (spec.method.method == Method::diffq) {
      EXPECT_EQ(spec.method.group_size, 16);
      EXPECT_EQ(spec.method.bits_lr, 2e-4);
      EXPECT_EQ(spec.method.min_bits, 1);
      EXPECT_EQ(spec.method.max_bits, 10);
      EXPECT_LE(spec.method.lambda, 10);
    }
  }
}

TEST(SweepFiles, Cifar100WrnIsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("cifar100_wrn.json"));
  EXPECT_EQ(sweep.name, "cifar100_wrn");
  ASSERT_EQ(sweep.runs.size(), 3u * (1 + 4 + 4 + 4 + 2 * 5));
  for (const Method method : {Method::qat, Method::lsq}) EXPECT_EQ(bits_of(sweep, method), kBitsOfThreeSeeds);
  std::set<int64_t> group_sizes;
  for (const auto& run : sweep.runs) {
    const RunSpec& spec = run.spec;
    EXPECT_EQ(spec.data.name, DataName::cifar100);
    EXPECT_EQ(spec.model.name, ModelName::wide_resnet28_10);
    EXPECT_EQ(spec.model.rates.dropout, 0.3);
    EXPECT_EQ(spec.train.batch_size, 128);
    EXPECT_EQ(spec.train.optimizer.weight_decay, 5e-4);
    EXPECT_TRUE(spec.train.optimizer.nesterov);
    EXPECT_EQ(spec.train.max_grad_norm, 5);
    EXPECT_EQ(spec.train.optimizer.lr, spec.method.method == Method::lsq ? 0.01 : 0.1);
    if (spec.method.method != Method::ptq) {
      EXPECT_EQ(spec.train.epochs, 200);
      EXPECT_EQ(spec.train.schedule.every_epochs, 60);
      EXPECT_EQ(spec.train.schedule.factor, 0.2);
    }
    if (spec.method.method == Method::diffq) {
      group_sizes.insert(spec.method.group_size);
      EXPECT_LE(spec.method.lambda, 5);
    }
  }
  EXPECT_EQ(group_sizes, (std::set<int64_t>{8, 16}));
}

TEST(SweepFiles, LanguageSmall) {
  const Sweep sweep = read_text(shipped("language_small.json"));
  EXPECT_EQ(sweep.name, "language_small");
  ASSERT_EQ(sweep.runs.size(), 1u + 2 + 1 + 3);
  EXPECT_EQ(bits_of(sweep, Method::qat), (std::multiset<int>{3, 8}));
  EXPECT_EQ(bits_of(sweep, Method::lsq), (std::multiset<int>{3}));
  for (const auto& run : sweep.runs) {
    EXPECT_EQ(run.spec.data.text.vocabulary, 10'000);
    EXPECT_EQ(run.depends_on, run.spec.method.method == Method::fp32 ? -1 : 0);
    if (run.spec.method.method != Method::diffq) continue;
    const auto steps =
        double(run.spec.train.epochs * (822'966 / run.spec.data.text.block / run.spec.train.batch_size));
    EXPECT_GE(steps * run.spec.method.bits_lr, 4);
    EXPECT_LE(steps * run.spec.method.bits_lr, 8);
  }
}

TEST(SweepFiles, WikiText103IsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("wikitext103.json"));
  EXPECT_EQ(sweep.name, "wikitext103");
  ASSERT_EQ(sweep.runs.size(), 3u * (1 + 4 + 4 + 6));
  for (const Method method : {Method::qat, Method::lsq}) EXPECT_EQ(bits_of(sweep, method), kBitsOfThreeSeeds);
  std::set<double> lambdas;
  for (const auto& run : sweep.runs) {
    const RunSpec& spec = run.spec;
    const TransformerSpec published;
    EXPECT_EQ(spec.data.name, DataName::wikitext103);
    EXPECT_EQ(spec.data.text.block, 3072);
    EXPECT_EQ(spec.model.transformer.layers, published.layers);
    EXPECT_EQ(spec.model.transformer.dim, published.dim);
    EXPECT_EQ(spec.model.transformer.ffn, published.ffn);
    EXPECT_EQ(spec.model.transformer.heads, published.heads);
    EXPECT_EQ(spec.model.transformer.cutoffs, published.cutoffs);
    EXPECT_EQ(spec.model.rates.dropout, 0.2);
    EXPECT_EQ(spec.train.batch_size, 24);
    EXPECT_EQ(spec.train.optimizer.name, OptimizerName::nag);
    EXPECT_EQ(spec.train.optimizer.momentum, 0.99);
    EXPECT_EQ(spec.train.optimizer.lr, spec.method.method == Method::lsq ? 0.1 : 1.0);
    EXPECT_EQ(spec.train.max_grad_norm, 0.1);
    EXPECT_EQ(spec.train.schedule.name, ScheduleName::cosine_restarts);
    EXPECT_EQ(spec.train.schedule.warmup_steps, 16'000);
    EXPECT_EQ(spec.train.schedule.period_steps, 270'000);
    EXPECT_EQ(spec.train.schedule.shrink, 0.75);
    const int64_t steps = spec.train.epochs * (103'227'021 / 3072 / 24);
    EXPECT_NEAR(double(steps), 286'000, 1400);
    if (spec.method.method == Method::diffq) {
      EXPECT_EQ(spec.method.group_size, 16);
      lambdas.insert(std::round(spec.method.lambda * 3072 * 10) / 10);
    }
  }
  EXPECT_EQ(lambdas, (std::set<double>{0.1, 0.5, 1, 5, 10, 50}));
}

TEST(SweepFiles, MusdbIsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("musdb.json"));
  EXPECT_EQ(sweep.name, "musdb");
  ASSERT_EQ(sweep.runs.size(), 3u * (1 + 4 + 4 + 5));
  for (const Method method : {Method::qat, Method::lsq}) EXPECT_EQ(bits_of(sweep, method), kBitsOfThreeSeeds);
  std::set<double> lambdas;
  for (const auto& run : sweep.runs) {
    const RunSpec& spec = run.spec;
    EXPECT_EQ(spec.data.name, DataName::musdb);
    EXPECT_EQ(spec.data.music.rate, 44100);
    EXPECT_EQ(spec.data.music.segment_seconds, 10);
    EXPECT_EQ(spec.model.demucs.channels, 64);
    EXPECT_EQ(spec.model.demucs.depth, 6);
    EXPECT_EQ(spec.train.epochs, 360);
    EXPECT_EQ(spec.train.batch_size, 64);
    EXPECT_EQ(spec.train.optimizer.name, OptimizerName::adam);
    EXPECT_EQ(spec.quant.min_size_mb, 1);
    // Neighbours that exchange their stems are on one rank.
    EXPECT_EQ(spec.train.batch_size / sweep.ranks_per_run % spec.data.music.augment.remix_group, 0);
    if (spec.method.method == Method::diffq) {
      EXPECT_EQ(spec.method.group_size, 8);
      EXPECT_EQ(spec.method.bits_lr, 1e-3);
      lambdas.insert(spec.method.lambda);
    }
  }
  EXPECT_TRUE(lambdas.contains(3e-4));
}

TEST(SweepFiles, AudioSmall) {
  const Sweep sweep = read_text(shipped("audio_small.json"));
  ASSERT_EQ(sweep.runs.size(), 1u + 2 + 1 + 3);
  for (const auto& run : sweep.runs) {
    EXPECT_EQ(run.spec.data.name, DataName::openmsx_synthesised);
    EXPECT_EQ(run.spec.eval.separation->overlap, 0.25);
  }
}

TEST(SweepFiles, SettingsOfMusicAreOfMusicAlone) {
  const std::string music = R"({"sweep": "s", "benchmarks": [{"data": {"name": "stems", "root": "r"MORE},
                                "model": {"name": "demucs"}, "methods": [{"method": "fp32"}]}]})";
  const auto with = [&](const std::string& more) {
    std::string text = music;
    return text.replace(text.find("MORE"), 4, more);
  };
  EXPECT_EQ(read_text(with("")).runs[0].spec.eval.batch_size, 4);
  EXPECT_THROW(read_text(with(R"(, "valid_samples": 1)")), std::invalid_argument);
  EXPECT_THROW(read_text(with(R"(, "augment": {"min_gain": 2})")), std::invalid_argument);
  EXPECT_THROW(
      read_text(
          R"({"sweep": "s", "benchmarks": [{"data": {"name": "mnist", "root": "r"}, "eval": {"shifts": 2},
                             "model": {"name": "resnet20"}, "methods": [{"method": "fp32"}]}]})"),
      std::invalid_argument);
}

/// What both files for ImageNet say.
void expect_deit_recipe(const Sweep& sweep, ModelName model) {
  ASSERT_EQ(sweep.runs.size(), 3u * (1 + 4 + 4 + 4 + 5));
  for (const Method method : {Method::qat, Method::lsq}) EXPECT_EQ(bits_of(sweep, method), kBitsOfThreeSeeds);
  std::set<double> lambdas;
  for (const auto& run : sweep.runs) {
    const RunSpec& spec = run.spec;
    EXPECT_EQ(spec.data.name, DataName::imagenet);
    EXPECT_EQ(spec.data.photos.crop, 224);
    EXPECT_EQ(spec.data.photos.interpolation, Interpolation::bicubic);
    EXPECT_EQ(spec.data.photos.rand_augment, 9);
    EXPECT_EQ(spec.data.photos.random_erasing, 0.25);
    EXPECT_EQ(spec.data.photos.repeats, 3);
    EXPECT_EQ(spec.model.name, model);
    EXPECT_EQ(spec.model.rates.drop_path, 0.1);
    EXPECT_EQ(spec.quant.min_size_mb, 0.1);
    if (spec.method.method != Method::ptq) {
      const TrainSpec& train = spec.train;
      EXPECT_EQ(train.epochs, 300);
      EXPECT_EQ(train.batch_size, 512);
      EXPECT_EQ(train.optimizer.name, OptimizerName::adamw);
      EXPECT_EQ(train.optimizer.lr, spec.method.method == Method::lsq ? 5e-5 : 5e-4);
      EXPECT_EQ(train.optimizer.weight_decay, 0.05);
      EXPECT_EQ(train.schedule.name, ScheduleName::cosine);
      EXPECT_EQ(train.schedule.warmup_epochs, 5);
      EXPECT_EQ(train.label_smoothing, 0.1);
      EXPECT_EQ(train.mix.mixup, 0.8);
      EXPECT_EQ(train.mix.cutmix, 1);
    }
    if (spec.method.method == Method::diffq) {
      EXPECT_EQ(spec.method.min_bits, 3);
      EXPECT_EQ(spec.method.bits_lr, 5e-4);
      lambdas.insert(spec.method.lambda);
    }
  }
  EXPECT_TRUE(lambdas.contains(0.01));
  EXPECT_EQ(lambdas.size(), 5u);
}

TEST(SweepFiles, ImageNetDeitIsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("imagenet_deit.json"));
  EXPECT_EQ(sweep.name, "imagenet_deit");
  expect_deit_recipe(sweep, ModelName::deit_base);
}

TEST(SweepFiles, ImageNetEfficientNetIsThePublishedRecipe) {
  const Sweep sweep = read_text(shipped("imagenet_efficientnet.json"));
  EXPECT_EQ(sweep.name, "imagenet_efficientnet");
  expect_deit_recipe(sweep, ModelName::efficientnet_b3);
  EXPECT_EQ(sweep.runs.front().spec.model.rates.dropout, 0);
}

// No file that ships is forgotten here.
TEST(SweepFiles, AreAllRead) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(DIFFQ_SOURCE_DIR) + "/sweeps")) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    const Sweep sweep = read_text(shipped(entry.path().filename().string()));
    EXPECT_EQ(sweep.name, entry.path().stem().string());
    EXPECT_FALSE(sweep.runs.empty());
  }
  EXPECT_GE(files, 8u);
}

}  // namespace
}  // namespace diffq
