// What the quantizers do not show of the GPU's kernels, emulated: bfloat16 weights, and weights that are not
// numbers.

#include "quant/device_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "quant/lanes_one.h"
#include "tests/support/test_device.h"
// The lanes come first.
#include "quant/lane_formulas.h"

namespace diffq {
namespace {

/// One tensor in groups of 8, as DeviceQuantizer lays it out.
class OneTensor {
 public:
  explicit OneTensor(const at::Tensor& weights, bool bf16 = false)
      : master(weights.to(at::kFloat)),
        compute(at::zeros_like(master, bf16 ? at::kBFloat16 : at::kFloat)),
        gradient_(at::zeros_like(master)),
        own_(at::zeros({(weights.numel() + 7) / 8})),
        own_gradient_(at::zeros_like(own_)) {
    const int64_t n = weights.numel();
    append_chunks(0, n, chunks_);
    const auto chunks = static_cast<int32_t>(chunks_.size());
    chunk_extremes_.resize(2 * chunks_.size());
    sums_.resize(chunks_.size());
    segment_ = {master.const_data_ptr<float>(),
                compute.mutable_data_ptr(),
                gradient_.mutable_data_ptr<float>(),
                own_.mutable_data_ptr<float>(),
                own_gradient_.mutable_data_ptr<float>(),
                n,
                8,
                own_.numel(),
                0,
                3,
                0,
                chunks,
                0,
                0,
                0,
                chunks,
                bf16};
    table = {&segment_,
             1,
             chunks_.data(),
             chunks,
             kChunkEntries / 8,
             nullptr,
             extremes_,
             chunk_extremes_.data(),
             end_entries_,
             sums_.data(),
             &scalars_,
             16384,
             false};
  }

  void add_noise() {
    const NoiseLaw law{make_group_map(Parametrisation::bits, 2, 15), NoiseKind::gaussian, PhiloxKeys::of(9)};
    const StepScalars scalars{.step = 3, .lambda = 0};
    test_kernels().begin_step(table, &scalars, nullptr);
    test_kernels().find_extremes(table, nullptr);
    test_kernels().add_noise(table, law, nullptr);
  }

  at::Tensor master, compute;
  ModelTable table{};

 private:
  at::Tensor gradient_, own_, own_gradient_;
  std::vector<Stretch> chunks_;
  std::vector<uint32_t> chunk_extremes_;
  std::vector<double> sums_;
  uint32_t extremes_[2] = {};
  EndEntries end_entries_[2] = {};
  StepScalars scalars_{};
  Segment segment_{};
};

/// Whatever guess a GPU begins with (rsqrt.approx is off by at most 2^-22.9 of its result, PTX ISA 9.7.3) but
/// for one in three million, whose root is too near the middle of two floats. It is not the GPU's: this is
/// how its sqrtf works too, for numbers from 2^-101 on, and that rounds to nearest.
TEST(DeviceKernels, RootsOfAllRadiiAreRoundedToNearest) {
  float least = HUGE_VALF, most = 0;
  int64_t guesses = 0, wrong = 0;
  for (uint32_t word = 0; word < 1u << 31; word += 1u << 11) {
    const float square = radius_squared(static_cast<int32_t>(word << 1));
    least = std::min(least, square);
    most = std::max(most, square);
    const double exact = 1 / std::sqrt(double{square});
    auto guess = static_cast<float>(exact * (1 - 0x1p-22));
    for (; guess < exact * (1 + 0x1p-22); guess = std::nextafter(guess, HUGE_VALF)) {
      if (std::abs(guess / exact - 1) > 0x1.1249p-23) continue;  // 2^-22.9
      ++guesses;
      wrong += root_from_inverse(square, guess) != std::sqrt(square);
    }
  }
  EXPECT_GT(guesses, 2 << 20);
  EXPECT_LE(wrong, 1);
  EXPECT_GT(least, 1e-7f);
  EXPECT_LT(most, 8);
}

/// Whatever guess a GPU begins with (rcp.approx is off by at most one place of a float, PTX ISA 9.7.3) but
/// 1/2 for the number below 2. It is not the GPU's: this is how its division works too, for such numbers, and
/// that rounds to nearest. The numbers of one octave stand for those of all.
TEST(DeviceKernels, ReciprocalsAreRoundedToNearest) {
  int64_t guesses = 0, wrong = 0;
  for (float a = 1; a < 2; a = std::nextafter(a, 2.0f)) {
    const float nearest = 1 / a, below = std::nextafter(nearest, 0.0f), above = std::nextafter(nearest, 2.0f);
    const double exact = 1 / double{a}, place = double{nearest} - double{below};
    for (const float guess : {below, nearest, above}) {
      if (std::abs(double{guess} - exact) > place) continue;
      ++guesses;
      if (reciprocal_from_guess(a, guess) == nearest) continue;
      ++wrong;
      EXPECT_EQ(a, 0x1.fffffep0f);
      EXPECT_EQ(guess, 0.5f);
    }
  }
  EXPECT_GT(guesses, 2 << 22);
  EXPECT_LE(wrong, 1);
}

/// Every radius with some angle, and every angle with some radius: they share no bits.
TEST(DeviceKernels, NoiseOfAWordIsTheSpecifications) {
  const auto differs = [](uint32_t word) {
    float first = 0, second = 0;
    gaussian_pair(static_cast<int32_t>(word), first, second);
    if (first != gaussian_noise(word, false) || second != gaussian_noise(word, true)) return 1;
    uniform_pair(static_cast<int32_t>(word), first, second);
    return first != uniform_noise(word, false) || second != uniform_noise(word, true) ? 1 : 0;
  };
  int64_t different = 0;
  for (uint32_t radius = 0; radius < 1u << 20; ++radius)
    different += differs(radius << 12 | (radius * 0x9E3779B9u) >> 20);
  for (uint32_t angle = 0; angle < 1u << 12; ++angle)
    different += differs((angle * 0x9E3779B9u) << 12 | angle);
  EXPECT_EQ(different, 0);
}

TEST(DeviceKernels, Bf16WeightsAreTheRoundedOnes) {
  at::manual_seed(2);
  const at::Tensor weights = at::randn({5000});
  OneTensor wide(weights), narrow(weights, true);
  wide.add_noise();
  narrow.add_noise();
  EXPECT_FALSE(wide.compute.equal(weights));
  EXPECT_TRUE(narrow.compute.equal(wide.compute.to(at::kBFloat16)));

  test_kernels().round(wide.table, nullptr, 4, nullptr);
  test_kernels().round(narrow.table, nullptr, 4, nullptr);
  EXPECT_TRUE(narrow.compute.equal(wide.compute.to(at::kBFloat16)));
}

TEST(DeviceKernels, Bf16KeepsWhatIsNoNumber) {
  at::Tensor weights = at::randn({100});
  weights[3] = std::numeric_limits<float>::quiet_NaN();
  weights[4] = std::numeric_limits<float>::infinity();
  weights[5] = 3.3895e38f;  // rounds to infinity
  OneTensor narrow(weights, true);
  test_kernels().copy(narrow.table, nullptr);
  const at::Tensor expected = weights.to(at::kBFloat16);
  EXPECT_TRUE(at::allclose(narrow.compute.to(at::kFloat), expected.to(at::kFloat), 0, 0, /*equal_nan=*/true));
}

TEST(DeviceKernels, ExtremesPassOverWhatIsNoNumber) {
  at::manual_seed(3);
  at::Tensor weights = at::randn({9000}).clamp(-2, 2);
  weights[17] = std::numeric_limits<float>::quiet_NaN();
  weights[8000] = -5;
  weights[1] = 6;
  OneTensor tensor(weights);
  tensor.add_noise();
  EXPECT_TRUE(tensor.compute[17].isnan().item<bool>());
  EXPECT_EQ(tensor.compute.isnan().sum().item<int64_t>(), 1);
  // 2 levels: everything goes to one of the two ends.
  test_kernels().round(tensor.table, nullptr, 1, nullptr);
  EXPECT_EQ(tensor.compute.eq(-5).sum().item<int64_t>() + tensor.compute.eq(6).sum().item<int64_t>(), 8999);
}

}  // namespace
}  // namespace diffq
