#pragma once
// Owns the flat buffers of a run: master (what the optimisers update), compute (what the model sees; each
// module parameter is a view of it) and gradient (where GradientBuckets puts each parameter's, in buckets, in
// backward order). The layout is fixed by the constructor, before any optimiser state exists.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quant/quantizer.h"
#include "trainer/run_spec.h"

namespace torch::nn {
class Module;
}

namespace diffq {

/// One parameter of the model. Offsets count float32 entries of the flat buffers.
struct ParameterEntry {
  std::string name;                  ///< "layer1.0.conv1.weight"; of a tied tensor, the name registered first
  std::vector<std::string> aliases;  ///< further names of the same tensor
  at::Tensor parameter;              ///< the module's own, a view of compute
  bool is_bf16 = false;              ///< and that of bfloat16
  int64_t numel = 0;
  int64_t own_count = 0;  ///< the quantizer's parameters for this tensor
  int64_t master_offset = 0;
  int64_t gradient_offset = 0;
  int64_t own_offset = 0;           ///< in own()
  int64_t own_gradient_offset = 0;  ///< in gradient(), right behind the tensor's own gradient
  bool quantized = false;
  size_t quantizer_index = 0;  ///< of bind(), when quantized
};

/// A contiguous range of the gradient buffer that is summed over the group in one go.
struct Bucket {
  int64_t begin = 0, end = 0;
  std::vector<size_t> entries;
};

struct BucketLimits {
  int64_t first_bytes = 1 << 20;  ///< small, so that the first sum starts early in backward
  int64_t bytes = 25 << 20;
};

class ParameterStore {
 public:
  /// Re-points the parameters of `module` (already of its final type and device) and binds `quantizer` to the
  /// buffers. Both are borrowed and must live as long as the store. With bf16, what linear layers and
  /// convolutions see is bfloat16 where the quantizer can write that: autocast would make it so in each step.
  ParameterStore(torch::nn::Module& module, Quantizer& quantizer, BucketLimits limits = {},
                 Precision precision = Precision::fp32);

  const std::vector<ParameterEntry>& entries() const { return entries_; }  ///< in backward order
  const std::vector<Bucket>& buckets() const { return buckets_; }

  const at::Tensor& master() const { return master_; }
  const at::Tensor& own() const { return own_; }
  const at::Tensor& gradient() const { return gradient_; }

  at::Tensor master_of(const ParameterEntry& entry) const;        ///< flat view
  at::Tensor gradient_of(const ParameterEntry& entry) const;      ///< flat view
  at::Tensor own_of(const ParameterEntry& entry) const;           ///< flat view
  at::Tensor own_gradient_of(const ParameterEntry& entry) const;  ///< flat view

  /// Floating-point buffers of the model (running statistics), by name; averaged over the group in the last
  /// bucket.
  struct BufferEntry {
    std::string name;
    at::Tensor tensor;
  };
  const std::vector<BufferEntry>& buffers() const { return buffers_; }
  /// The other buffers: counts of batches, which only files want.
  const std::vector<BufferEntry>& counters() const { return counters_; }
  /// One batch more. From the store's making on batch normalisation does not count by itself, as each layer's
  /// count would be a launch on a GPU.
  void count_batch();
  /// Tail of the last bucket: one entry for each of all buffers' numbers, then the loss and three flags.
  const at::Tensor& buffer_tail() const { return buffer_tail_; }
  const at::Tensor& loss_tail() const { return loss_tail_; }  ///< [1]
  const at::Tensor& nonfinite_tail() const {
    return nonfinite_tail_;
  }                                                               ///< [1] ranks whose loss is not finite
  const at::Tensor& failed_tail() const { return failed_tail_; }  ///< [1] ranks that threw
  const at::Tensor& stop_tail() const { return stop_tail_; }      ///< [1] ranks that were told to stop
  const at::Tensor& flags_tail() const { return flags_tail_; }    ///< [2] these two

  /// Bytes that the flat buffers take.
  int64_t bytes() const;

 private:
  void collect(torch::nn::Module& module, const Quantizer& quantizer);
  void take_counts(torch::nn::Module& module);
  void choose_bf16(torch::nn::Module& module);
  void lay_out(BucketLimits limits);
  void repoint(Quantizer& quantizer);

  std::vector<ParameterEntry> entries_;
  std::vector<Bucket> buckets_;
  std::vector<BufferEntry> buffers_, counters_;
  std::vector<at::Tensor> batch_counts_;  ///< those of counters_ that layers kept
  at::Tensor master_, compute_, bf16_compute_, gradient_, own_;
  at::Tensor buffer_tail_, loss_tail_, nonfinite_tail_, failed_tail_, stop_tail_, flags_tail_;
};

}  // namespace diffq
