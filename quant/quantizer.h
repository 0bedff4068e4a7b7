#pragma once
// A quantizer is a pair of maps over all tensors of a model: materialize (master -> compute) and pull_back
// (gradient of compute -> gradient of master and of the quantizer's own parameters). It has no autograd and
// no hooks of its own. Random numbers are drawn anew in pull_back from the key that materialize was given,
// never stored.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quant/method_spec.h"
#include "quant/packed_tensor.h"

namespace diffq {

/// One quantised tensor. All views are flat, float32 (but for compute), contiguous, and live as long as the
/// quantizer is used.
struct QuantizedTensor {
  std::string name;
  at::Tensor master;  ///< [n] the weights that the optimiser updates
  /// [n] what the model sees; never the same memory as master. bfloat16 where Quantizer::takes_bf16 and
  /// `parameter` is there.
  at::Tensor compute;
  at::Tensor gradient;      ///< [n] ∂loss/∂compute on entry of pull_back, ∂loss/∂master after it
  at::Tensor own;           ///< [own_count(n)] the quantizer's parameters: logits (diffq), scale (lsq)
  at::Tensor own_gradient;  ///< [own_count(n)] written (not added to) by pull_back
  int64_t channels = 1;     ///< first of at least two dimensions: the output channels of most layers
  /// The module's own, where compute is bfloat16: materialize has it see compute, and materialize_rounded
  /// float32 values in the memory of gradient, which nobody needs then.
  at::Tensor parameter = {};
};

/// One tensor that is not quantised. `compute` is `master` itself unless QuantSpec::float16 asks for a
/// rounded copy.
struct KeptTensor {
  std::string name;
  at::Tensor master;
  at::Tensor compute;
};

/// The noise of one step is a pure function of this key, the tensor's index and the entry's index.
struct NoiseKey {
  uint64_t seed = 0;  ///< seed, run and (when ranks draw their own) rank, mixed; see mix_seed()
  uint32_t step = 0;
};

/// Mixes a further value into a seed so that different values give unrelated streams (splitmix64 finaliser).
uint64_t mix_seed(uint64_t seed, uint64_t value);

/// The bits of one tensor as evaluated and packed: one whole number a group.
struct TensorBits {
  std::string name;
  int64_t weights = 0;     ///< entries of the tensor
  int64_t group_size = 0;  ///< entries a group, at least 1 (the last group may be shorter)
  std::vector<int> bits;   ///< one a group
};

class Quantizer {
 public:
  virtual ~Quantizer() = default;

  /// Whether a tensor of this full name ("layer1.0.conv1.weight") and size is quantised; fp32 quantises
  /// nothing.
  virtual bool selects(const std::string& name, int64_t numel) const = 0;
  /// How many parameters of its own a quantised tensor of `numel` entries has. Known before any memory is
  /// laid out.
  virtual int64_t own_count(int64_t numel) const = 0;
  /// Whether kept tensors need a compute buffer of their own (float16).
  virtual bool copies_kept() const = 0;
  /// Whether compute may be bfloat16.
  virtual bool takes_bf16() const { return false; }

  /// Takes the memory to work on; order is that of the arguments from then on. Called once, after own_count.
  virtual void bind(std::vector<QuantizedTensor> quantized, std::vector<KeptTensor> kept) = 0;
  /// Sets the own parameters to their start values from the master weights (logits: init_bits; LSQ: scale of
  /// the weights).
  virtual void initialize_own() = 0;

  /// What materialize() and add_size_gradient() will be given in the step that begins. A device reads it from
  /// its own memory. Without this call the two write it there themselves, which a step that is recorded must
  /// not do.
  virtual void set_step(NoiseKey /*key*/, double /*lambda*/) {}
  /// Training weights: master -> compute of every tensor, with the noise of `key`.
  virtual void materialize(NoiseKey key) = 0;
  /// Evaluation weights: exactly the values that the packed model restores.
  virtual void materialize_rounded() = 0;
  /// For the given quantised tensors (indices of bind): gradient of compute -> gradient of master, in place,
  /// and own_gradient. Uses the key of the last materialize; master must not have changed since, and no
  /// materialize_rounded have come between.
  virtual void pull_back(std::span<const size_t> tensors) = 0;
  /// own_gradient += lambda * ∂size_mb/∂own, for all tensors (diffq; nothing for the others).
  virtual void add_size_gradient(double lambda) = 0;
  /// Moves the own parameters so that size_mb() is at most the target and as close to it as whole bits allow
  /// (diffq): groups next to another number of bits go there first, in the order of tensors and groups among
  /// equals. A target below the least size gives the least size. The others throw std::logic_error.
  virtual void fit_size(double target_mb);
  /// From now on (diffq): the bits stay as they round now, materialize rounds, and pull_back passes the
  /// gradient on to the weights that are not clipped. The others throw std::logic_error.
  virtual void freeze();
  /// After each optimiser step: keeps the own parameters in their domain (LSQ scales >= 1e-8).
  virtual void constrain_own() = 0;

  /// MB (2^20 bytes) of quantised and kept tensors with the real-valued bits: what λ acts on.
  virtual double expected_size_mb() const = 0;
  /// MB with the bits rounded as evaluated and packed.
  virtual double size_mb() const = 0;
  /// size_mb() if all groups had their least bits (diffq; the others have but one size).
  virtual double least_size_mb() { return size_mb(); }
  /// Rounded bits of every quantised tensor (empty for fp32).
  virtual std::vector<TensorBits> bits() const = 0;
  /// What the levels of all tensors stand for.
  virtual LevelGrid grid() const = 0;
  /// How one tensor is packed.
  virtual TensorLayout layout(size_t tensor) const = 0;
  /// One tensor as a packed model file has it: what materialize_rounded evaluates is what unpack_tensor
  /// restores.
  virtual std::vector<uint8_t> pack(size_t tensor, Coding coding) const = 0;
  /// Quantization level of every entry of one tensor, as evaluated and packed; [n] int32.
  at::Tensor levels(size_t tensor) const;
};

/// The quantizer of a method, for buffers on a device. Throws std::invalid_argument for settings that no
/// method has (sweeps/ checks them first).
std::unique_ptr<Quantizer> make_quantizer(const MethodSpec& method, const QuantSpec& quant,
                                          at::Device device = at::kCPU);

}  // namespace diffq
