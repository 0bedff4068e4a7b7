#include "results/claims.h"

#include <array>

namespace diffq {
namespace {

struct Claim {
  const char* benchmark;
  const char* text;
  const char* dataset;
  const char* model;
  double size_fp32_mb;  ///< tells the model, whatever it is called here
  double ratio;
};

/// Sizes: 86.6 M, 247 M and 265.7 M parameters of 4 bytes.
constexpr std::array kClaims{
    Claim{"image", "top-1 accuracy 0.3 points below fp32 at more than 8 times smaller", "imagenet",
          "DeiT-B, 12 layers", 330.2, 8},
    Claim{"language", "perplexity 0.5 above fp32 at 8 times smaller", "wikitext103",
          "Transformer of 16 layers with adaptive input", 942, 8},
    Claim{"audio", "no loss of SDR from 1014 to 150 MB, 6.8 times smaller", "musdb", "Demucs v2", 1013.5,
          1013.5 / 150},
};
constexpr double kSizeTolerance = 0.03;

/// DiffQ's row of smallest loss among those at this ratio or beyond it.
const ComparisonRow* best_at(const Comparison& comparison, double ratio) {
  const ComparisonRow* best = nullptr;
  const double sign = comparison.higher_is_better ? 1 : -1;
  for (const ComparisonRow& row : comparison.rows) {
    if (row.method != "diffq" || row.difference.count == 0 || !(row.ratio.mean >= ratio)) continue;
    if (best == nullptr || sign * row.difference.mean > sign * best->difference.mean) best = &row;
  }
  return best;
}

std::string measured(const Comparison& comparison, double ratio) {
  const ComparisonRow* row = best_at(comparison, ratio);
  if (row == nullptr)
    return "no DiffQ run with an fp32 run of its seed is " + fixed(ratio, 1) + " times smaller";
  std::string text = comparison.metric_name + " " + fixed(row->difference.mean, 2, true);
  if (row->difference.count > 1) text += " ± " + fixed(row->difference.deviation, 2);
  return text + " at " + fixed(row->ratio.mean, 2) + " times smaller (" + label(*row) + ", " +
         std::to_string(row->difference.count) + (row->difference.count == 1 ? " seed)" : " seeds)");
}

bool has_size(const Comparison& comparison, double size_mb) {
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow& run : row.done) {
      if (std::abs(run.size_fp32_mb - size_mb) <= kSizeTolerance * size_mb) return true;
    }
  }
  return false;
}

std::string comparable(const Comparison& comparison, const Claim& claim) {
  std::string differs;
  if (comparison.dataset != claim.dataset)
    differs = std::string("data ") + comparison.dataset + ", not " + claim.dataset;
  if (!has_size(comparison, claim.size_fp32_mb)) {
    differs += (differs.empty() ? "model " : "; model ") + comparison.model + ", not " + claim.model +
               " of " + fixed(claim.size_fp32_mb, 0) + " MB";
  }
  return differs.empty() ? "the same data, a model of the same size; compare the recipes too"
                         : "not comparable: " + differs;
}

}  // namespace

std::vector<ClaimCheck> check_claims(const Comparison& comparison) {
  std::vector<ClaimCheck> checks;
  for (const Claim& claim : kClaims) {
    if (comparison.benchmark != claim.benchmark) continue;
    checks.push_back({std::string(claim.dataset) + ", " + claim.model + ": " + claim.text,
                      measured(comparison, claim.ratio), comparable(comparison, claim)});
  }
  return checks;
}

}  // namespace diffq
