// The GPU's kernels, emulated or there (tests/support/test_device.h), against the CPU path: whole quantizers
// side by side. Noise, noisy weights and the bits' gradients bit for bit; what is summed in double, in
// another order, to the last places.

#include "quant/device_quantizer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "quant/lsq.h"
#include "quant/uniform.h"
#include "tests/quant/diffq_support.h"
#include "tests/support/test_device.h"

namespace diffq {
namespace {

/// Every kind of length: short, odd, passes, chunks and pieces exactly, and longer than a piece.
std::vector<at::Tensor> many_tensors() {
  std::vector<at::Tensor> tensors;
  uint64_t seed = 1;
  for (const int64_t n : {1, 5, 16, 127, 128, 2048, 2049, 8192, 8193, 10'240, 16384, 40'001})
    tensors.push_back(random_weights(n, seed++));
  tensors.push_back(at::full({300}, 0.25));  // no range
  at::Tensor ties = random_weights(20'000, seed++).clamp(-0.3, 0.3);
  tensors.push_back(ties);
  at::Tensor zeros = random_weights(4000, seed).clamp_min(0);  // its smallest entries are 0 and -0
  zeros.slice(0, 0, 4000, 7).fill_(-0.0f);
  tensors.push_back(zeros);
  // As many largest entries as there is room to note, and one smallest more than that, in all chunks.
  constexpr int64_t kNoted = EndEntries::kNoted, kApart = 1000;
  at::Tensor noted = random_weights(40'000, ++seed);
  noted.slice(0, 0, kNoted * kApart, kApart).fill_(8);
  noted.slice(0, 7, 7 + (kNoted + 1) * kApart, kApart).fill_(-8);
  tensors.push_back(noted);
  return tensors;
}

std::vector<at::Tensor> on_test_device(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> moved;
  for (const at::Tensor& tensor : tensors) moved.push_back(tensor.to(test_device()));
  return moved;
}

struct Pair {
  Bound<Quantizer> cpu;
  Bound<DeviceQuantizer> device;

  explicit Pair(const MethodSpec& method, const std::vector<at::Tensor>& weights = many_tensors(),
                const QuantSpec& quant = {}, const std::vector<at::Tensor>& kept = {})
      : cpu(make_quantizer(method, quant), weights, kept),
        device(std::make_unique<DeviceQuantizer>(method, quant, test_kernels()), on_test_device(weights),
               on_test_device(kept)) {}

  void randomize_logits() {
    at::manual_seed(5);
    for (size_t t = 0; t < cpu.tensors.size(); ++t) {
      const at::Tensor logits = at::randn(cpu.tensors[t].own.sizes()) * 2;
      cpu.tensors[t].own.copy_(logits);
      device.tensors[t].own.copy_(logits);
    }
  }
  void set_gradients() {
    at::manual_seed(6);
    for (size_t t = 0; t < cpu.tensors.size(); ++t) {
      cpu.tensors[t].gradient.copy_(at::randn(cpu.tensors[t].gradient.sizes()));
      device.tensors[t].gradient.copy_(cpu.tensors[t].gradient);
    }
  }
  void pull_back() {
    cpu.pull_back();
    device.pull_back();
  }
  /// One of the device's tensors, in the host's memory.
  QuantizedTensor fetched(size_t t) const {
    const QuantizedTensor& from = device.tensors[t];
    return {from.name,           from.master.cpu(), from.compute.cpu(),
            from.gradient.cpu(), from.own.cpu(),    from.own_gradient.cpu()};
  }
};

void expect_same(const at::Tensor& device, const at::Tensor& cpu, const std::string& what) {
  ASSERT_EQ(device.sizes(), cpu.sizes()) << what;
  const at::Tensor fetched = device.cpu();
  EXPECT_EQ(std::memcmp(fetched.const_data_ptr(), cpu.const_data_ptr(), cpu.nbytes()), 0)
      << what << ": " << relative_difference(device, cpu);
}

constexpr int64_t kGroupSizes[] = {0, 1, 2, 3, 4, 8, 10, 16, 32, 64, 100, 128, 1000, 20'000};

TEST(DeviceDiffQ, StepsAreThoseOfTheCpu) {
  for (const int64_t group_size : kGroupSizes) {
    for (const NoiseKind noise : {NoiseKind::gaussian, NoiseKind::uniform, NoiseKind::matched}) {
      Pair pair(diffq_method(group_size, noise));
      pair.randomize_logits();
      pair.set_gradients();
      const NoiseKey key{0x123456789abcdef0ULL, 77};
      pair.cpu.quantizer->materialize(key);
      pair.device.quantizer->materialize(key);
      pair.pull_back();
      for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
        const QuantizedTensor &cpu = pair.cpu.tensors[t], device = pair.fetched(t);
        const std::string what = "group size " + std::to_string(group_size) + ", " +
                                 std::to_string(cpu.master.numel()) + " entries";
        expect_same(device.compute, cpu.compute, "compute, " + what);
        if (has_fast_path(pair.cpu.quantizer->layout(t).group_size)) {
          expect_same(device.own_gradient, cpu.own_gradient, "own gradient, " + what);
        } else {
          EXPECT_LE(relative_difference(device.own_gradient, cpu.own_gradient), 1e-6) << what;
        }
        // Apart from the extreme entries the gradient passes as it is.
        const at::Tensor extreme =
            cpu.master.eq(cpu.master.min()).logical_or(cpu.master.eq(cpu.master.max()));
        EXPECT_TRUE(device.gradient.masked_select(~extreme).equal(cpu.gradient.masked_select(~extreme)))
            << what;
        EXPECT_LE(relative_difference(device.gradient, cpu.gradient), 1e-6) << what;
      }
    }
  }
}

TEST(DeviceDiffQ, TheRangesGradientIsNotNothing) {
  Pair pair(diffq_method(8), {random_weights(10'000)});
  pair.set_gradients();
  const at::Tensor before = pair.fetched(0).gradient.clone();
  pair.device.quantizer->materialize({1, 1});
  pair.device.pull_back();
  const at::Tensor changed = (pair.fetched(0).gradient - before).nonzero().flatten();
  ASSERT_EQ(changed.numel(), 2);
  const at::Tensor master = pair.fetched(0).master;
  EXPECT_TRUE(changed.eq(master.argmax()).any().item<bool>());
  EXPECT_TRUE(changed.eq(master.argmin()).any().item<bool>());
}

TEST(DeviceDiffQ, BucketsInPartsAreTheWhole) {
  for (const int64_t group_size : {8, 10}) {
    Pair pair(diffq_method(group_size));
    pair.set_gradients();
    pair.cpu.quantizer->materialize({3, 4});
    pair.device.quantizer->materialize({3, 4});
    for (const std::vector<size_t>& bucket :
         {std::vector<size_t>{0, 1, 2}, {7, 3, 4, 5}, {6, 8, 9}, {10, 11, 12, 13, 14, 15}})
      pair.device.quantizer->pull_back(bucket);
    pair.cpu.pull_back();
    for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
      EXPECT_LE(relative_difference(pair.device.tensors[t].gradient, pair.cpu.tensors[t].gradient), 1e-6);
      EXPECT_LE(relative_difference(pair.device.tensors[t].own_gradient, pair.cpu.tensors[t].own_gradient),
                1e-6);
    }
  }
}

TEST(DeviceDiffQ, NoiseChangesWithStepAndSeed) {
  Pair pair(diffq_method(8), {random_weights(3000)});
  std::vector<at::Tensor> seen;
  for (const NoiseKey key : {NoiseKey{1, 1}, NoiseKey{1, 2}, NoiseKey{2, 1}}) {
    pair.device.quantizer->materialize(key);
    for (const at::Tensor& before : seen) EXPECT_FALSE(before.equal(pair.device.tensors[0].compute));
    seen.push_back(pair.device.tensors[0].compute.clone());
  }
}

TEST(DeviceDiffQ, SizeGradientBitForBit) {
  for (const Parametrisation kind : {Parametrisation::bits, Parametrisation::noise}) {
    for (const int64_t group_size : kGroupSizes) {
      Pair pair(diffq_method(group_size, NoiseKind::gaussian, kind));
      pair.randomize_logits();
      for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
        pair.cpu.tensors[t].own_gradient.fill_(0.125);
        pair.device.tensors[t].own_gradient.fill_(0.125);
      }
      pair.cpu.quantizer->add_size_gradient(5.5);
      pair.device.quantizer->add_size_gradient(5.5);
      for (size_t t = 0; t < pair.cpu.tensors.size(); ++t)
        expect_same(pair.device.tensors[t].own_gradient, pair.cpu.tensors[t].own_gradient, "size gradient");
      EXPECT_EQ(pair.device.quantizer->size_mb(), pair.cpu.quantizer->size_mb());
      EXPECT_EQ(pair.device.quantizer->expected_size_mb(), pair.cpu.quantizer->expected_size_mb());
    }
  }
}

/// What is evaluated and packed.
void expect_same_rounding(Pair& pair, const std::string& what) {
  pair.cpu.quantizer->materialize_rounded();
  pair.device.quantizer->materialize_rounded();
  for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
    expect_same(pair.device.tensors[t].compute, pair.cpu.tensors[t].compute, what);
    EXPECT_EQ(pair.device.quantizer->pack(t, Coding::bits), pair.cpu.quantizer->pack(t, Coding::bits))
        << what;
  }
  for (size_t k = 0; k < pair.cpu.kept.size(); ++k)
    expect_same(pair.device.kept[k].compute, pair.cpu.kept[k].compute, what);
}

TEST(DeviceDiffQ, RoundsAndPacksAsTheCpu) {
  for (const int64_t group_size : kGroupSizes) {
    QuantSpec quant;
    quant.float16 = true;
    Pair pair(diffq_method(group_size), many_tensors(), quant, {random_weights(77, 3)});
    pair.randomize_logits();
    expect_same_rounding(pair, "group size " + std::to_string(group_size));
  }
}

MethodSpec fixed(Method method, int bits, Clip clip = Clip::minmax) {
  MethodSpec made;
  made.method = method;
  made.bits = bits;
  made.clip = clip;
  return made;
}

TEST(DeviceDiffQ, FitsASizeAsTheCpu) {
  Pair pair(diffq_method(8));
  pair.randomize_logits();
  EXPECT_EQ(pair.device.quantizer->least_size_mb(), pair.cpu.quantizer->least_size_mb());
  const double target = 0.9 * pair.cpu.quantizer->size_mb();
  pair.cpu.quantizer->fit_size(target);
  pair.device.quantizer->fit_size(target);
  EXPECT_EQ(pair.device.quantizer->size_mb(), pair.cpu.quantizer->size_mb());
  for (size_t t = 0; t < pair.cpu.tensors.size(); ++t)
    EXPECT_TRUE(at::equal(pair.fetched(t).own, pair.cpu.tensors[t].own)) << t;
}

/// A tensor of which every third weight decides, beside the others.
std::vector<at::Tensor> clipped_tensors() {
  std::vector<at::Tensor> tensors = many_tensors();
  tensors.push_back(random_weights(200'003, 40));
  return tensors;
}

TEST(DeviceDiffQ, ClipsAsTheCpu) {
  for (const int64_t group_size : {0, 1, 3, 8, 100, 20'000}) {
    MethodSpec method = diffq_method(group_size, NoiseKind::matched);
    method.clip = Clip::mse;
    Pair pair(method, clipped_tensors());
    pair.randomize_logits();
    pair.set_gradients();
    const at::Tensor before = pair.cpu.tensors.back().gradient.clone();
    pair.cpu.quantizer->materialize({5, 6});
    pair.device.quantizer->materialize({5, 6});
    pair.pull_back();
    for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
      const QuantizedTensor &cpu = pair.cpu.tensors[t], device = pair.fetched(t);
      const std::string what = std::to_string(group_size) + ", " + std::to_string(cpu.master.numel());
      EXPECT_LE(relative_difference(device.compute, cpu.compute), 1e-6) << what;
      EXPECT_LE(relative_difference(device.own_gradient, cpu.own_gradient), 1e-5) << what;
      EXPECT_TRUE(at::equal(device.gradient, cpu.gradient)) << what;
    }
    EXPECT_FALSE(at::equal(pair.cpu.tensors.back().gradient, before)) << "something is clipped";
    expect_same_rounding(pair, std::to_string(group_size));
  }
}

TEST(DeviceDiffQ, FrozenBitsAreThoseOfTheCpu) {
  for (const Clip clip : {Clip::minmax, Clip::mse}) {
    for (const int64_t group_size : {0, 8, 10}) {
      MethodSpec method = diffq_method(group_size);
      method.clip = clip;
      Pair pair(method, clipped_tensors());
      pair.randomize_logits();
      pair.set_gradients();
      for (Quantizer* quantizer :
           {pair.cpu.quantizer.get(), static_cast<Quantizer*>(pair.device.quantizer.get())}) {
        quantizer->freeze();
        quantizer->materialize({5, 6});
      }
      pair.pull_back();
      for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
        const QuantizedTensor &cpu = pair.cpu.tensors[t], device = pair.fetched(t);
        if (clip == Clip::minmax) expect_same(device.compute, cpu.compute, "compute");
        EXPECT_LE(relative_difference(device.compute, cpu.compute), 1e-6);
        EXPECT_TRUE(at::equal(device.gradient, cpu.gradient));
        EXPECT_TRUE(at::equal(device.own_gradient, cpu.own_gradient));
      }
    }
  }
}

TEST(DeviceDiffQ, RefusesWhatIsForTheCpuAlone) {
  MethodSpec by_channel = diffq_method(8), vanishing = diffq_method(8), as_good_as_vanishing = vanishing;
  by_channel.range = RangeOf::channel;
  vanishing.min_bits = 0;
  as_good_as_vanishing.min_bits = 5e-8;
  for (const MethodSpec& method : {by_channel, vanishing, as_good_as_vanishing})
    EXPECT_THROW(DeviceQuantizer(method, {}, test_kernels()), std::invalid_argument);
}

TEST(DeviceQat, RoundsAsTheCpu) {
  for (const int bits : {1, 2, 4, 8, 15}) {
    Pair pair(fixed(Method::qat, bits));
    pair.set_gradients();
    pair.cpu.quantizer->materialize({});
    pair.device.quantizer->materialize({});
    pair.pull_back();
    for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
      expect_same(pair.device.tensors[t].compute, pair.cpu.tensors[t].compute, "qat");
      expect_same(pair.device.tensors[t].gradient, pair.cpu.tensors[t].gradient, "qat");
    }
    expect_same_rounding(pair, "qat");
  }
}

TEST(DevicePtq, TrainsOnTheWeightsAndRoundsAsTheCpu) {
  for (const Clip clip : {Clip::minmax, Clip::mse}) {
    Pair pair(fixed(Method::ptq, 3, clip));
    pair.device.quantizer->materialize({});
    for (const QuantizedTensor& tensor : pair.device.tensors)
      expect_same(tensor.compute, tensor.master.cpu(), "ptq");
    expect_same_rounding(pair, "ptq");
  }
}

TEST(DeviceLsq, IsThatOfTheCpu) {
  for (const int bits : {2, 3, 8}) {
    Pair pair(fixed(Method::lsq, bits));
    for (size_t t = 0; t < pair.cpu.tensors.size(); ++t)
      expect_same(pair.device.tensors[t].own, pair.cpu.tensors[t].own, "start scale");
    pair.set_gradients();
    pair.cpu.quantizer->materialize({});
    pair.device.quantizer->materialize({});
    pair.pull_back();
    for (size_t t = 0; t < pair.cpu.tensors.size(); ++t) {
      const QuantizedTensor &cpu = pair.cpu.tensors[t], device = pair.fetched(t);
      expect_same(device.compute, cpu.compute, "compute");
      expect_same(device.gradient, cpu.gradient, "gradient");
      EXPECT_LE(relative_difference(device.own_gradient, cpu.own_gradient), 1e-6);
    }
    expect_same_rounding(pair, "lsq");
    for (const QuantizedTensor& tensor : pair.device.tensors) tensor.own.fill_(-1);
    pair.device.quantizer->constrain_own();
    for (const QuantizedTensor& tensor : pair.device.tensors)
      EXPECT_EQ(tensor.own.item<float>(), kLeastScale);
  }
}

}  // namespace
}  // namespace diffq
