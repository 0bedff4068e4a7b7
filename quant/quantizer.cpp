#include "quant/quantizer.h"

#include <stdexcept>

#include "quant/base_quantizer.h"
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
  at::Tensor levels(size_t) const override { throw std::out_of_range("fp32 has no levels"); }

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

std::unique_ptr<Quantizer> make_quantizer(const MethodSpec& method, const QuantSpec& quant) {
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
