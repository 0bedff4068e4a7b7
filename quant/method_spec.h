#pragma once
// What the user asked of a method: how the weights of a run are quantised. Plain values, read and checked by
// sweeps/.

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace diffq {

enum class Method { fp32, ptq, qat, lsq, diffq };
inline constexpr std::array<std::pair<std::string_view, Method>, 5> kMethodNames{{{"fp32", Method::fp32},
                                                                                  {"ptq", Method::ptq},
                                                                                  {"qat", Method::qat},
                                                                                  {"lsq", Method::lsq},
                                                                                  {"diffq", Method::diffq}}};

/// Distribution of the pseudo quantization noise: N(0,1)/2, U(-1/2, 1/2), or N(0,1)/√12, which is normal and
/// has the power of rounding.
enum class NoiseKind { gaussian, uniform, matched };
inline constexpr std::array<std::pair<std::string_view, NoiseKind>, 3> kNoiseKindNames{
    {{"gaussian", NoiseKind::gaussian}, {"uniform", NoiseKind::uniform}, {"matched", NoiseKind::matched}}};

/// What the logit interpolates between its two ends: the bits, or (log-linearly) the scale 1/(2^b - 1).
enum class Parametrisation { bits, noise };
inline constexpr std::array<std::pair<std::string_view, Parametrisation>, 2> kParametrisationNames{
    {{"bits", Parametrisation::bits}, {"noise", Parametrisation::noise}}};

/// Whether the ranks of a group draw the same noise or each its own.
enum class RankNoise { independent, shared };
inline constexpr std::array<std::pair<std::string_view, RankNoise>, 2> kRankNoiseNames{
    {{"independent", RankNoise::independent}, {"shared", RankNoise::shared}}};

/// How PTQ and DiffQ pick the range of a tensor: its extremes, or the clip with the least squared error.
enum class Clip { minmax, mse };
inline constexpr std::array<std::pair<std::string_view, Clip>, 2> kClipNames{
    {{"minmax", Clip::minmax}, {"mse", Clip::mse}}};

/// What has levels with ends of their own in DiffQ: a tensor, or each part of it along its first dimension.
enum class RangeOf { tensor, channel };
inline constexpr std::array<std::pair<std::string_view, RangeOf>, 2> kRangeNames{
    {{"tensor", RangeOf::tensor}, {"channel", RangeOf::channel}}};

/// Shared by all methods of a benchmark.
struct QuantSpec {
  double min_size_mb = 0.01;         ///< tensors of at most floor(min_size_mb * 2^20 / 4) entries are kept
  std::vector<std::string> exclude;  ///< globs on "module.name" or "name" of tensors to keep
  bool float16 = false;              ///< kept tensors are stored (and evaluated) as fp16
};

/// One method with its own settings; which fields count depends on `method`.
struct MethodSpec {
  Method method = Method::fp32;
  int bits = 0;              ///< ptq, qat: 1-15; lsq: 2-15
  Clip clip = Clip::minmax;  ///< ptq, diffq
  std::string
      start;  ///< "" (random weights), "fp32" (the finished fp32 run of the same seed) or a safetensors file
  std::optional<double>
      scale_lr;  ///< lsq: learning rate of the scales, under the weights' schedule; absent: the weights'

  // diffq
  double lambda = 0;       ///< loss per MB (2^20 bytes); of a run with a target not used
  double target_mb = 0;    ///< the size to end with at most; 0: none, lambda decides
  int64_t group_size = 8;  ///< entries a group; 0: one group a tensor
  NoiseKind noise = NoiseKind::gaussian;
  Parametrisation parametrisation = Parametrisation::bits;
  RangeOf range = RangeOf::tensor;
  double min_bits = 2;  ///< 0: groups may vanish
  double init_bits = 8;
  double max_bits = 15;
  double bits_lr = 1e-3;
  RankNoise rank_noise = RankNoise::independent;
  double frozen = 0;  ///< the last so much of training: whole bits that stay, true rounding, no noise
};

/// Settings of diffq by one word: those of the publication, or those that docs/ablation.md favours.
enum class Preset { published, strong };
inline constexpr std::array<std::pair<std::string_view, Preset>, 2> kPresetNames{
    {{"published", Preset::published}, {"strong", Preset::strong}}};

inline void apply_preset(Preset preset, MethodSpec& method) {
  if (preset == Preset::published) return;  // as they are anyway
  method.noise = NoiseKind::matched;
  method.clip = Clip::mse;
  method.frozen = 0.3;
}

/// λ of a diffq run that was given one.
inline std::optional<double> lambda_of(const MethodSpec& method) {
  if (method.method != Method::diffq || method.target_mb > 0) return std::nullopt;
  return method.lambda;
}

}  // namespace diffq
