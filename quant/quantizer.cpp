#include "quant/quantizer.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <stdexcept>

#include "quant/base_quantizer.h"
#include "quant/device_quantizer.h"
#include "quant/diffq.h"
#include "quant/lsq.h"
#include "quant/uniform.h"

namespace diffq {
namespace {

/// Keeps every tensor as it is, at 32 bits an entry whatever QuantSpec says of kept tensors.
class Fp32 : public BaseQuantizer {
 public:
  Fp32() : BaseQuantizer(QuantSpec{}) {}
  bool selects(const std::string&, int64_t) const override { return false; }

 protected:
  std::vector<int> group_bits(size_t) const override { return {}; }
  double stored_bits(size_t) const override { return 0; }
  void materialize_tensors(NoiseKey) override {}
  void materialize_tensors_rounded() override {}
};

}  // namespace

uint64_t mix_seed(uint64_t seed, uint64_t value) {
  uint64_t z = seed + 0x9e3779b97f4a7c15ULL * (value + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

at::Tensor Quantizer::levels(size_t tensor) const {
  const TensorBits bits = this->bits().at(tensor);
  std::vector<uint16_t> numbers(static_cast<size_t>(bits.weights));
  unpack_levels(layout(tensor), Coding::bits, pack(tensor, Coding::bits), numbers.data());
  // Of a scale the levels are signed.
  const int32_t zero = grid() == LevelGrid::scale ? 1 << (bits.bits.front() - 1) : 0;
  at::Tensor levels = at::empty({bits.weights}, at::kInt);
  std::transform(numbers.begin(), numbers.end(), levels.data_ptr<int32_t>(),
                 [&](uint16_t number) { return int32_t{number} - zero; });
  return levels;
}

void Quantizer::fit_size(double) { throw std::logic_error("quantizer: has no bits to fit to a size"); }

void Quantizer::freeze() { throw std::logic_error("quantizer: has no bits to freeze"); }

std::unique_ptr<Quantizer> make_quantizer(const MethodSpec& method, const QuantSpec& quant,
                                          at::Device device) {
  if (!device.is_cpu() && method.method != Method::fp32) {
    return std::make_unique<DeviceQuantizer>(method, quant, cuda_kernels());
  }
  switch (method.method) {
    case Method::fp32:
      return std::make_unique<Fp32>();
    case Method::ptq:
    case Method::qat:
      return std::make_unique<Uniform>(method, quant);
    case Method::lsq:
      return std::make_unique<Lsq>(method, quant);
    case Method::diffq:
      return std::make_unique<DiffQ>(method, quant);
  }
  throw std::invalid_argument("method: unknown; fp32, ptq, qat, lsq or diffq");
}

}  // namespace diffq
