#pragma once
// One run as understood: everything that decides its result. Plain values, read and checked by sweeps/.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "datasets/data_spec.h"
#include "quant/method_spec.h"

namespace diffq {

enum class ModelName {
  small_cnn,
  resnet20,
  resnet18,
  mobilenet,
  wide_resnet28_10,
  cifar_vit,
  deit_tiny,
  deit_small,
  deit_base,
  efficientnet_b3,
  transformer_lm,
  demucs
};
inline constexpr std::array<std::pair<std::string_view, ModelName>, 12> kModelNames{
    {{"small_cnn", ModelName::small_cnn},
     {"resnet20", ModelName::resnet20},
     {"resnet18", ModelName::resnet18},
     {"mobilenet", ModelName::mobilenet},
     {"wide_resnet28_10", ModelName::wide_resnet28_10},
     {"cifar_vit", ModelName::cifar_vit},
     {"deit_tiny", ModelName::deit_tiny},
     {"deit_small", ModelName::deit_small},
     {"deit_base", ModelName::deit_base},
     {"efficientnet_b3", ModelName::efficientnet_b3},
     {"transformer_lm", ModelName::transformer_lm},
     {"demucs", ModelName::demucs}}};

constexpr BenchmarkName benchmark_name(ModelName name) {
  switch (name) {
    case ModelName::transformer_lm:
      return BenchmarkName::language;
    case ModelName::demucs:
      return BenchmarkName::audio;
    default:
      return BenchmarkName::image;
  }
}

/// How often training drops activations, and the branches of residual blocks; absent where a model has no
/// such rate.
struct DropRates {
  std::optional<double> dropout = {};
  std::optional<double> drop_path = {};
};

constexpr DropRates usual_rates(ModelName name) {
  switch (name) {
    case ModelName::wide_resnet28_10:
      return {.dropout = 0.3};
    case ModelName::cifar_vit:
      return {.dropout = 0.1};
    case ModelName::deit_tiny:
    case ModelName::deit_small:
    case ModelName::deit_base:
      return {.drop_path = 0};
    case ModelName::efficientnet_b3:
      return {.dropout = 0.3, .drop_path = 0.2};
    case ModelName::transformer_lm:
      return {.dropout = 0.3};
    default:
      return {};
  }
}

struct DemucsSpec {
  int64_t channels = 64;  ///< of the first level; each further one has twice as many
  int64_t depth = 6;      ///< levels, each at a quarter of the rate of the one before
};

/// transformer_lm; the defaults are the published sizes and rates for WikiText-103.
struct TransformerSpec {
  int64_t layers = 16;
  int64_t dim = 1024;
  int64_t ffn = 4096;
  int64_t heads = 8;
  std::vector<int64_t> cutoffs = {20000, 60000};  ///< tokens from each on have embeddings `factor` times
  int64_t factor = 4;                             ///< shorter than those before
  double attention_dropout = 0.1;
  double activation_dropout = 0.1;
  double softmax_dropout = 0.2;
  double layer_drop = 0;  ///< how often a step leaves out a layer
};

struct ModelSpec {
  ModelName name = ModelName::small_cnn;
  bool batchnorm = true;  ///< small_cnn: with batch normalisation
  DropRates rates = {};   ///< absent: the model's usual ones
  TransformerSpec transformer = {};
  DemucsSpec demucs = {};
};

enum class OptimizerName { sgd, nag, adam, adamw };
inline constexpr std::array<std::pair<std::string_view, OptimizerName>, 4> kOptimizerNames{
    {{"sgd", OptimizerName::sgd},
     {"nag", OptimizerName::nag},
     {"adam", OptimizerName::adam},
     {"adamw", OptimizerName::adamw}}};

/// Whether it has a momentum; the others are kinds of Adam.
constexpr bool is_sgd(OptimizerName name) { return name == OptimizerName::sgd || name == OptimizerName::nag; }

struct OptimizerSpec {
  OptimizerName name = OptimizerName::sgd;
  double lr = 0.1;
  double weight_decay = 0;
  double momentum = 0.9;                              ///< sgd, nag
  bool nesterov = false;                              ///< sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< adam, adamw
};

enum class ScheduleName { constant, step, cosine, cosine_restarts };
inline constexpr std::array<std::pair<std::string_view, ScheduleName>, 4> kScheduleNames{
    {{"constant", ScheduleName::constant},
     {"step", ScheduleName::step},
     {"cosine", ScheduleName::cosine},
     {"cosine_restarts", ScheduleName::cosine_restarts}}};

struct ScheduleSpec {
  ScheduleName name = ScheduleName::constant;
  double warmup_epochs = 0;   ///< linear from 0
  int64_t every_epochs = 60;  ///< step
  double factor = 0.2;        ///< step
  int64_t warmup_steps = 0;   ///< cosine_restarts, which has no warmup_epochs
  int64_t period_steps = 1;   ///< cosine_restarts
  double shrink = 0.75;       ///< cosine_restarts
};

/// Neighbours in a training batch mixed with each other: parameters of Beta(alpha, alpha), 0 for not at all.
struct MixSpec {
  double mixup = 0;
  double cutmix = 0;
  bool mixes() const { return mixup > 0 || cutmix > 0; }
};

/// bf16: matrix products and convolutions of training in bfloat16 (autocast); weights, gradients, optimisers
/// and evaluation stay float32.
enum class Precision { fp32, bf16 };
inline constexpr std::array<std::pair<std::string_view, Precision>, 2> kPrecisionNames{
    {{"fp32", Precision::fp32}, {"bf16", Precision::bf16}}};

/// Of cuDNN, on a GPU. repeatable: the same sums in the same order every time. fastest: any, tried for every
/// new shape; two trainings of a run then differ in their roundings.
enum class Algorithms { repeatable, fastest };
inline constexpr std::array<std::pair<std::string_view, Algorithms>, 2> kAlgorithmsNames{
    {{"repeatable", Algorithms::repeatable}, {"fastest", Algorithms::fastest}}};

struct TrainSpec {
  int64_t epochs = 1;
  int64_t batch_size = 128;  ///< the whole group's, an optimiser step
  int64_t accumulate_steps = 1;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  double max_grad_norm = 0;        ///< norm that the weights' gradients are clipped to; 0: no clipping
  int64_t max_skipped_steps = 10;  ///< so many non-finite steps in a row end the run
  Precision precision = Precision::fp32;
  Algorithms algorithms = Algorithms::repeatable;
  bool cuda_graph =
      false;  ///< on a GPU steps are recorded and repeated; changes no result: not part of the id
  double label_smoothing =
      0;  ///< of the training loss: so much of a target is spread evenly over all classes
  MixSpec mix;
  double ema = 0;  ///< decay of the averages that are evaluated and packed; 0: the last weights are
  int64_t first_bucket_mb = 1;    ///< of gradients that are summed in one go: small, so that it starts early
  int64_t bucket_mb = 25;         ///< … and those after it
  double checkpoint_minutes = 5;  ///< changes no result: not part of the run's id
  /// After so many steps the ranks of a group compare hashes of what they have; 0: never. Changes no result:
  /// not part of the run's id.
  int64_t rank_check_steps = 100;
};

/// How whole tracks of music go through a model that takes segments.
struct SeparationSpec {
  int64_t shifts = 1;     ///< the mean over so many copies, shifted within half a second
  double overlap = 0.25;  ///< of a segment with the next
};

struct EvalSpec {
  int64_t batch_size = 500;           ///< a rank; changes no result beyond rounding
  int64_t recalibrate_batchnorm = 0;  ///< batches, before every evaluation; 0: training's statistics
  std::optional<SeparationSpec> separation = {};  ///< of music alone
};

/// What is usual where a sweep file says nothing.
inline EvalSpec usual_evaluation(const DataSpec& data) {
  if (benchmark_name(data.name) != BenchmarkName::audio) return {};
  return {.batch_size = 4, .separation = SeparationSpec{}};
}

struct RunSpec {
  DataSpec data = {};
  ModelSpec model = {};
  TrainSpec train = {};
  EvalSpec eval = {};
  QuantSpec quant = {};
  MethodSpec method = {};
  uint64_t seed = 1;
};

}  // namespace diffq
