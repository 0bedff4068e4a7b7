#include "trainer/bss_eval.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace diffq {
namespace {

// Spectra are taken of blocks of this length: short enough for the cache, long beside the filters.
constexpr int64_t kBlock = 8192;
constexpr int64_t kBlocksAtOnce = 64;  // bounds the memory

/// A length that FFTs are fast at: the next 2^k, 3·2^k or 5·2^k.
int64_t fast_length(int64_t least) {
  int64_t best = 0;
  for (int64_t length : {1, 3, 5}) {
    while (length < least) length *= 2;
    if (best == 0 || length < best) best = length;
  }
  return best;
}

/// Correlations at the lags 0 … lags-1: [a, b, lag] = Σ_n first[a][n] · second[b][n + lag], of
/// [signals, samples].
at::Tensor correlations(const at::Tensor& first, const at::Tensor& second, int64_t lags) {
  const int64_t samples = first.size(1), fft = fast_length(kBlock + lags - 1);
  at::Tensor sum =
      at::zeros({fft / 2 + 1, first.size(0), second.size(0)}, first.options().dtype(at::kComplexDouble));
  for (int64_t begin = 0; begin < samples; begin += kBlock * kBlocksAtOnce) {
    // A block of the first signal meets the same block of the second and the `lags` samples behind it.
    const int64_t end = std::min(samples, begin + kBlock * kBlocksAtOnce);
    const int64_t blocks = (end - begin + kBlock - 1) / kBlock;
    const auto framed = [&](const at::Tensor& signals, int64_t behind) {
      const int64_t wanted = blocks * kBlock + behind, there = std::min(samples - begin, wanted);
      const at::Tensor part =
          at::constant_pad_nd(signals.narrow(1, begin, there).to(at::kDouble), {0, wanted - there});
      return at::fft_rfft(part.unfold(1, kBlock + behind, kBlock), fft);  // [signals, blocks, frequencies]
    };
    const at::Tensor a = framed(first, 0).permute({2, 0, 1}).conj(),
                     b = framed(second, lags - 1).permute({2, 1, 0});
    sum += at::matmul(a.resolve_conj(), b);
  }
  return at::fft_irfft(sum.permute({1, 2, 0}), fft).narrow(2, 0, lags);
}

/// Correlation of the signals with each other, [signals · taps, signals · taps]: Toeplitz blocks out of
/// `lagged` [signals, signals, lag].
at::Tensor gram_matrix(const at::Tensor& lagged) {
  const int64_t signals = lagged.size(0), taps = lagged.size(2);
  // r(a, b, -lag) = r(b, a, lag): all lags from -(taps - 1) to taps - 1.
  const at::Tensor negative = lagged.transpose(0, 1).narrow(2, 1, taps - 1).flip(2);
  const at::Tensor all = at::cat({negative, lagged}, 2);
  // Row i of a block holds the lags i, i - 1, …: windows of `all` backwards.
  const at::Tensor blocks = all.unfold(2, taps, 1).flip(3);  // [a, b, row, column]
  return blocks.permute({0, 2, 1, 3}).reshape({signals * taps, signals * taps});
}

/// x of gram · x = right. The matrix is positive definite but for rounding, or for signals that depend on
/// each other (silence, a missing octave).
at::Tensor solve(at::Tensor gram, const at::Tensor& right) {
  gram.diagonal().add_(std::numeric_limits<double>::epsilon());
  const auto [factor, failed] = at::linalg_cholesky_ex(gram);
  if (failed.item<int>() == 0) return at::cholesky_solve(right, factor);
  const auto [solution, singular] = at::linalg_solve_ex(gram, right);
  if (singular.item<int>() == 0) return solution;
  return std::get<0>(at::linalg_lstsq(gram, right, std::nullopt, "gelsd"));
}

/// Filters [in, taps, out] that bring the signals `in` as near as can be to the signals `out`.
at::Tensor filters(const at::Tensor& gram_lags, const at::Tensor& out_lags) {
  const int64_t in = out_lags.size(0), out = out_lags.size(1), taps = out_lags.size(2);
  const at::Tensor right = out_lags.permute({0, 2, 1}).reshape({in * taps, out});
  return solve(gram_matrix(gram_lags), right).view({in, taps, out});
}

/// Squares of a spectrum of `fft` real samples, added up: the energy of the samples. [sources, channels,
/// frequencies] -> [sources].
at::Tensor energy(const at::Tensor& spectrum, int64_t fft) {
  at::Tensor squares = at::view_as_real(spectrum).square().sum({1, 3});
  squares.narrow(1, 1, (fft + 1) / 2 - 1).mul_(2);  // these stand for their mirror images too
  return squares.sum(1) / double(fft);
}

at::Tensor decibel(const at::Tensor& above, const at::Tensor& below) {
  const at::Tensor ratio = (above / below).log10() * 10;
  return at::where(below == 0, at::full_like(ratio, HUGE_VAL), ratio);
}

bool any_silent(const at::Tensor& signals) { return (signals.sum(1) == 0).all(1).any().item<bool>(); }

/// The filters of all sources, ready for windows of one length.
class Projections {
 public:
  Projections(const at::Tensor& own, const at::Tensor& all, int64_t fft)
      : fft_(fft), own_(at::fft_rfft(own, fft)), all_(at::fft_rfft(all, fft).flatten(0, 1)) {}

  /// SDR, ISR, SIR, SAR [4, sources] of one window.
  at::Tensor scores(const at::Tensor& references, const at::Tensor& estimates) const {
    const at::Tensor truth = at::fft_rfft(references, fft_), given = at::fft_rfft(estimates, fft_);
    const int64_t sources = truth.size(0), channels = truth.size(1);
    // What the source's own filters make of it, and what those of all sources make of all.
    const at::Tensor own = (own_ * truth.unsqueeze(1)).sum(2);
    const at::Tensor all = at::matmul(all_.permute({2, 0, 1}), truth.flatten(0, 1).t().unsqueeze(2))
                               .squeeze(2)
                               .t()
                               .view({sources, channels, -1});
    const at::Tensor true_energy = references.square().sum({1, 2});
    return at::stack({decibel(true_energy, (estimates - references).square().sum({1, 2})),
                      decibel(true_energy, energy(own - truth, fft_)),
                      decibel(energy(own, fft_), energy(all - own, fft_)),
                      decibel(energy(all, fft_), energy(given - all, fft_))});
  }

 private:
  int64_t fft_;
  at::Tensor own_;  // [sources, out, in, frequencies]
  at::Tensor all_;  // [sources · out, sources · in, frequencies]
};

void check(const at::Tensor& references, const at::Tensor& estimates, const BssWindows& windows) {
  if (references.dim() != 3 || references.sizes() != estimates.sizes() || references.numel() == 0)
    throw std::invalid_argument(
        "bss_eval: references and estimates must be of one shape [sources, channels, samples]");
  if (windows.window < 1 || windows.hop < 1 || windows.filter_length < 1)
    throw std::invalid_argument("bss_eval: window, hop and filter length must be at least 1");
}

}  // namespace

BssScores bss_eval(const at::Tensor& references, const at::Tensor& estimates, const BssWindows& windows) {
  check(references, estimates, windows);
  torch::NoGradGuard no_grad;
  const int64_t sources = references.size(0), channels = references.size(1), samples = references.size(2);
  const int64_t taps = windows.filter_length, window = std::min(windows.window, samples);
  const int64_t count = window < samples ? (samples - window + windows.hop) / windows.hop : 1;
  at::Tensor scores = at::full({4, sources, count}, std::nan(""), at::kDouble);

  const at::Tensor flat = references.flatten(0, 1);
  const at::Tensor lags = correlations(flat, at::cat({flat, estimates.flatten(0, 1)}), taps);
  const at::Tensor among = lags.narrow(1, 0, sources * channels),
                   towards = lags.narrow(1, sources * channels, sources * channels);
  // [in, taps, out] of all sources at once, and of each source alone, as [source, out, in, taps].
  const at::Tensor all =
      filters(among, towards).view({sources * channels, taps, sources, channels}).permute({2, 3, 0, 1});
  std::vector<at::Tensor> own;
  for (int64_t source = 0; source < sources; ++source) {
    const auto block = [&](const at::Tensor& of) {
      return of.narrow(0, source * channels, channels).narrow(1, source * channels, channels);
    };
    own.push_back(filters(block(among), block(towards)).permute({2, 0, 1}));
  }
  const Projections projections(at::stack(own), all, fast_length(window + taps - 1));
  for (int64_t w = 0; w < count; ++w) {
    const at::Tensor truth = references.narrow(2, w * windows.hop, window).to(at::kDouble);
    const at::Tensor given = estimates.narrow(2, w * windows.hop, window).to(at::kDouble);
    if (any_silent(truth) || any_silent(given)) continue;
    scores.select(2, w).copy_(projections.scores(truth, given));
  }
  return {scores[0], scores[1], scores[2], scores[3]};
}

at::Tensor utterance_sdr(const at::Tensor& references, const at::Tensor& estimates) {
  const at::Tensor truth = references.to(at::kDouble);
  const at::Tensor off = (truth - estimates.to(at::kDouble)).square().sum({1, 2});
  return ((truth.square().sum({1, 2}) + 1e-7) / (off + 1e-7)).log10() * 10;
}

double median_score(const at::Tensor& values) {
  const at::Tensor flat = values.flatten().to(at::kDouble);
  const at::Tensor kept = std::get<0>(flat.masked_select(flat.isnan().logical_not()).sort());
  const int64_t count = kept.numel();
  if (count == 0) return std::nan("");
  const double below = kept[(count - 1) / 2].item<double>(), above = kept[count / 2].item<double>();
  return below == above ? below : (below + above) / 2;
}

}  // namespace diffq
