// What the quantizers do not show of the GPU's kernels, emulated: bfloat16 weights, and weights that are not
// numbers.

#include "quant/device_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tests/support/test_device.h"

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
    ties_.resize(chunks_.size());
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
    table = {&segment_,    1,      chunks_.data(), chunks, nullptr, extremes_, ties_.data(),
             sums_.data(), &step_, 16384,          false};
  }

  void add_noise() {
    const NoiseLaw law{make_group_map(Parametrisation::bits, 2, 15), NoiseKind::gaussian, 9};
    test_kernels().begin_step(table, 3, nullptr);
    test_kernels().find_extremes(table, nullptr);
    test_kernels().add_noise(table, law, nullptr);
  }

  at::Tensor master, compute;
  ModelTable table{};

 private:
  at::Tensor gradient_, own_, own_gradient_;
  std::vector<Stretch> chunks_;
  std::vector<uint32_t> ties_;
  std::vector<double> sums_;
  uint32_t extremes_[2] = {}, step_ = 0;
  Segment segment_{};
};

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
