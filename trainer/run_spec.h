#pragma once
// One run as understood: everything that decides its result. Plain values, read and checked by sweeps/.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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
  demucs
};
inline constexpr std::array<std::pair<std::string_view, ModelName>, 11> kModelNames{
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
     {"demucs", ModelName::demucs}}};

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
    default:
      return {};
  }
}

struct DemucsSpec {
  int64_t channels = 64;  ///< of the first level; each further one has twice as many
  int64_t depth = 6;      ///< levels, each at a quarter of the rate of the one before
};

struct ModelSpec {
  ModelName name = ModelName::small_cnn;
  bool batchnorm = true;  ///< small_cnn: with batch normalisation
  DropRates rates = {};   ///< absent: the model's usual ones
  DemucsSpec demucs = {};
};

enum class OptimizerName { sgd, adam, adamw };
inline constexpr std::array<std::pair<std::string_view, OptimizerName>, 3> kOptimizerNames{
    {{"sgd", OptimizerName::sgd}, {"adam", OptimizerName::adam}, {"adamw", OptimizerName::adamw}}};

struct OptimizerSpec {
  OptimizerName name = OptimizerName::sgd;
  double lr = 0.1;
  double weight_decay = 0;
  double momentum = 0.9;                              ///< sgd
  bool nesterov = false;                              ///< sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< adam, adamw
};

enum class ScheduleName { constant, step, cosine };
inline constexpr std::array<std::pair<std::string_view, ScheduleName>, 3> kScheduleNames{
    {{"constant", ScheduleName::constant}, {"step", ScheduleName::step}, {"cosine", ScheduleName::cosine}}};

struct ScheduleSpec {
  ScheduleName name = ScheduleName::constant;
  double warmup_epochs = 0;   ///< linear from 0
  int64_t every_epochs = 60;  ///< step
  double factor = 0.2;        ///< step
};

/// Neighbours in a training batch mixed with each other: parameters of Beta(alpha, alpha), 0 for not at all.
struct MixSpec {
  double mixup = 0;
  double cutmix = 0;
  bool mixes() const { return mixup > 0 || cutmix > 0; }
};

enum class Precision { fp32 };
inline constexpr std::array<std::pair<std::string_view, Precision>, 1> kPrecisionNames{
    {{"fp32", Precision::fp32}}};

struct TrainSpec {
  int64_t epochs = 1;
  int64_t batch_size = 128;  ///< the whole group's, an optimiser step
  int64_t accumulate_steps = 1;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  double max_grad_norm = 0;        ///< norm that the weights' gradients are clipped to; 0: no clipping
  int64_t max_skipped_steps = 10;  ///< so many non-finite steps in a row end the run
  Precision precision = Precision::fp32;
  double label_smoothing =
      0;  ///< of the training loss: so much of a target is spread evenly over all classes
  MixSpec mix;
};

/// How whole tracks of music go through a model that takes segments.
struct SeparationSpec {
  int64_t shifts = 1;     ///< the mean over so many copies, shifted within half a second
  double overlap = 0.25;  ///< of a segment with the next
};

struct EvalSpec {
  int64_t batch_size = 500;                       ///< a rank; changes no result beyond rounding
  std::optional<SeparationSpec> separation = {};  ///< of music alone
};

/// What is usual where a sweep file says nothing.
inline EvalSpec usual_evaluation(const DataSpec& data) {
  if (!is_music(data.name)) return {};
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
