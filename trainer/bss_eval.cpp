#include "trainer/bss_eval.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "trainer/block_toeplitz.h"

namespace diffq {
namespace {

constexpr int64_t kBlocksAtOnce = 16;  // bounds the memory
constexpr int64_t kTile = 64;          // frequencies at a time, so that sums stay in the nearest cache

/// A length that FFTs are fast at: the next 2^k, 3·2^k or 5·2^k.
int64_t fast_length(int64_t least) {
  int64_t best = 0;
  for (int64_t length : {1, 3, 5}) {
    while (length < least) length *= 2;
    if (best == 0 || length < best) best = length;
  }
  return best;
}

/// Spectra of real signals along the last axis with the real parts first, then the imaginary ones:
/// [..., samples] -> [..., 2, frequencies].
at::Tensor spectra(const at::Tensor& signals, int64_t fft) {
  return at::view_as_real(at::fft_rfft(signals, fft)).movedim(-1, -2).contiguous();
}

/// A spectrum's part: `real` and `imaginary` hold one number a frequency.
struct Part {
  Part(const at::Tensor& spectra, int64_t signal, int64_t begin)
      : real(spectra.mutable_data_ptr<double>() + 2 * signal * spectra.size(-1) + begin),
        imaginary(real + spectra.size(-1)) {}
  double *real, *imaginary;
};

/// sum += conj(a) · b over all blocks, for every pair of signals and the tile's frequencies. Spectra
/// [signals, blocks, 2, frequencies], sum [firsts, seconds, 2, frequencies].
void add_products(const at::Tensor& a, const at::Tensor& b, const at::Tensor& sum, int64_t tile) {
  const int64_t firsts = a.size(0), seconds = b.size(0), blocks = a.size(1);
  const int64_t begin = tile * kTile, count = std::min(kTile, a.size(-1) - begin);
  for (int64_t pair = 0; pair < firsts * seconds; ++pair) {
    const Part added(sum, pair, begin);
    for (int64_t block = 0; block < blocks; ++block) {
      const Part x(a, pair / seconds * blocks + block, begin), y(b, pair % seconds * blocks + block, begin);
      for (int64_t f = 0; f < count; ++f) {
        added.real[f] += x.real[f] * y.real[f] + x.imaginary[f] * y.imaginary[f];
        added.imaginary[f] += x.real[f] * y.imaginary[f] - x.imaginary[f] * y.real[f];
      }
    }
  }
}

/// Correlations at the lags 0 … lags-1: [a, b, lag] = Σ_n first[a][n] · second[b][n + lag], of
/// [signals, samples]. By spectra of blocks: short enough for the cache, long beside the lags.
at::Tensor correlations(const at::Tensor& first, const at::Tensor& second, int64_t lags) {
  const int64_t samples = first.size(1);
  const int64_t fft = fast_length(std::max<int64_t>(8192, 4 * lags)), block = fft - lags + 1;
  const int64_t frequencies = fft / 2 + 1;
  const at::Tensor sum = at::zeros({first.size(0), second.size(0), 2, frequencies}, at::kDouble);
  for (int64_t begin = 0; begin < samples; begin += block * kBlocksAtOnce) {
    // A block of the first signal meets the same block of the second and the `lags` samples behind it.
    const int64_t end = std::min(samples, begin + block * kBlocksAtOnce);
    const int64_t blocks = (end - begin + block - 1) / block;
    const auto framed = [&](const at::Tensor& signals, int64_t behind) {
      const int64_t wanted = blocks * block + behind, there = std::min(samples - begin, wanted);
      const at::Tensor part =
          at::constant_pad_nd(signals.narrow(1, begin, there).to(at::kDouble), {0, wanted - there});
      return spectra(part.unfold(1, block + behind, block), fft);  // [signals, blocks, 2, frequencies]
    };
    const at::Tensor a = framed(first, 0), b = framed(second, lags - 1);
    at::parallel_for(0, (frequencies + kTile - 1) / kTile, 1, [&](int64_t from, int64_t to) {
      for (int64_t tile = from; tile < to; ++tile) add_products(a, b, sum, tile);
    });
  }
  const at::Tensor spectrum = at::view_as_complex(sum.movedim(2, 3).contiguous());
  return at::fft_irfft(spectrum, fft).narrow(2, 0, lags).contiguous();
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

/// Filters [in, taps, out] that bring the signals `in` as near as can be to the signals `out`.
at::Tensor filters(at::Tensor gram_lags, const at::Tensor& out_lags) {
  const int64_t in = out_lags.size(0), out = out_lags.size(1), taps = out_lags.size(2);
  gram_lags = gram_lags.clone();
  gram_lags.select(2, 0).diagonal().add_(std::numeric_limits<double>::epsilon());
  const at::Tensor right = out_lags.transpose(1, 2);
  if (const auto solved = solve_block_toeplitz(gram_lags, right)) return *solved;
  // Signals that depend on each other (silence, a missing octave).
  const at::Tensor gram = gram_matrix(gram_lags), flat = right.reshape({in * taps, out});
  const auto [solution, singular] = at::linalg_solve_ex(gram, flat);
  const at::Tensor found =
      singular.item<int>() == 0 ? solution : std::get<0>(at::linalg_lstsq(gram, flat, std::nullopt, "gelsd"));
  return found.view({in, taps, out});
}

at::Tensor decibel(const at::Tensor& above, const at::Tensor& below) {
  const at::Tensor ratio = (above / below).log10() * 10;
  return at::where(below == 0, at::full_like(ratio, HUGE_VAL), ratio);
}

bool any_silent(const at::Tensor& signals) { return (signals.sum(1) == 0).all(1).any().item<bool>(); }

/// The filters of all sources, ready for windows of one length.
class Projections {
 public:
  /// own: [sources, out, in, taps]; all: [sources, out, sources · in, taps].
  Projections(const at::Tensor& own, const at::Tensor& all, int64_t fft)
      : fft_(fft),
        sources_(own.size(0)),
        channels_(own.size(1)),
        own_(spectra(own, fft)),
        all_(spectra(all, fft)) {}

  /// SDR, ISR, SIR, SAR [4, sources] of one window.
  at::Tensor scores(const at::Tensor& references, const at::Tensor& estimates) const {
    const at::Tensor truth = spectra(references, fft_), given = spectra(estimates, fft_);
    const at::Tensor energies = at::zeros({5, sources_}, at::kDouble);
    for (int64_t source = 0; source < sources_; ++source) {
      Energies sums{};
      for (int64_t out = source * channels_; out < (source + 1) * channels_; ++out) {
        for (int64_t begin = 0; begin < truth.size(-1); begin += kTile)
          add(truth, given, source, out, begin, sums);
      }
      for (int64_t i = 0; i < 5; ++i)
        energies[i][source] = std::accumulate(sums[i].begin(), sums[i].end(), 0.0) / double(fft_);
    }
    const at::Tensor true_energy = references.square().sum({1, 2});
    return at::stack({decibel(true_energy, (estimates - references).square().sum({1, 2})),
                      decibel(true_energy, energies[0]), decibel(energies[1], energies[2]),
                      decibel(energies[3], energies[4])});
  }

 private:
  using Tile = std::array<double, kTile>;
  /// Of the source's own filters' signal: what the truth lacks to it, itself; of that of all sources'
  /// filters: what the own one lacks to it, itself, and what the estimate lacks to it. Squares of spectra add
  /// up to the energy of the samples.
  using Energies = std::array<Tile, 5>;

  /// What the filters of `in` signals, from number `first` on, make of the truth.
  static void filter(const at::Tensor& filters, int64_t first_filter, const at::Tensor& truth, int64_t first,
                     int64_t in, int64_t begin, int64_t count, Tile& real, Tile& imaginary) {
    real.fill(0);
    imaginary.fill(0);
    for (int64_t i = 0; i < in; ++i) {
      const Part h(filters, first_filter + i, begin), x(truth, first + i, begin);
      for (int64_t f = 0; f < count; ++f) {
        real[f] += h.real[f] * x.real[f] - h.imaginary[f] * x.imaginary[f];
        imaginary[f] += h.real[f] * x.imaginary[f] + h.imaginary[f] * x.real[f];
      }
    }
  }

  void add(const at::Tensor& truth, const at::Tensor& given, int64_t source, int64_t out, int64_t begin,
           Energies& sums) const {
    const int64_t count = std::min(kTile, truth.size(-1) - begin), signals = sources_ * channels_;
    Tile own_real, own_imaginary, all_real, all_imaginary;
    filter(own_, out * channels_, truth, source * channels_, channels_, begin, count, own_real,
           own_imaginary);
    filter(all_, out * signals, truth, 0, signals, begin, count, all_real, all_imaginary);
    const Part t(truth, out, begin), g(given, out, begin);
    const auto square = [](double real, double imaginary) { return real * real + imaginary * imaginary; };
    for (int64_t f = 0; f < count; ++f) {
      // All but the first, and the last of an even length, stand for their mirror images too.
      const double weight = begin + f == 0 || 2 * (begin + f) == fft_ ? 1 : 2;
      sums[0][f] += weight * square(own_real[f] - t.real[f], own_imaginary[f] - t.imaginary[f]);
      sums[1][f] += weight * square(own_real[f], own_imaginary[f]);
      sums[2][f] += weight * square(all_real[f] - own_real[f], all_imaginary[f] - own_imaginary[f]);
      sums[3][f] += weight * square(all_real[f], all_imaginary[f]);
      sums[4][f] += weight * square(g.real[f] - all_real[f], g.imaginary[f] - all_imaginary[f]);
    }
  }

  int64_t fft_, sources_, channels_;
  at::Tensor own_, all_;  // as given, but spectra
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
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    torch::NoGradGuard no_grad_here;
    for (int64_t w = begin; w < end; ++w) {
      const at::Tensor truth = references.narrow(2, w * windows.hop, window).to(at::kDouble);
      const at::Tensor given = estimates.narrow(2, w * windows.hop, window).to(at::kDouble);
      if (any_silent(truth) || any_silent(given)) continue;
      scores.select(2, w).copy_(projections.scores(truth, given));
    }
  });
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
