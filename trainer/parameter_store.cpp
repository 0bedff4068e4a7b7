#include "trainer/parameter_store.h"

#include <torch/torch.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace diffq {
namespace {

// Entries start on cache lines, whatever the sizes of their neighbours.
constexpr int64_t kAlignment = 16;
int64_t aligned(int64_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ParameterStore::ParameterStore(torch::nn::Module& module, Quantizer& quantizer, BucketLimits limits,
                               Precision precision) {
  torch::NoGradGuard no_grad;
  collect(module, quantizer);
  if (precision == Precision::bf16 && quantizer.takes_bf16()) choose_bf16(module);
  lay_out(limits);
  repoint(quantizer);
}

void ParameterStore::collect(torch::nn::Module& module, const Quantizer& quantizer) {
  // C++ lists a tied tensor under each of its names: the first owns, the others are aliases.
  std::unordered_map<c10::TensorImpl*, size_t> seen;
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& parameter = item.value();
    const auto [place, is_new] = seen.emplace(parameter.unsafeGetTensorImpl(), entries_.size());
    if (!is_new) {
      entries_[place->second].aliases.push_back(item.key());
      continue;
    }
    TORCH_CHECK(parameter.scalar_type() == at::kFloat && parameter.requires_grad(), item.key(),
                ": parameters must be float32 and take a gradient");
    ParameterEntry entry;
    entry.name = item.key();
    entry.parameter = parameter;
    entry.numel = parameter.numel();
    entry.quantized = quantizer.selects(entry.name, entry.numel);
    entry.own_count = entry.quantized ? quantizer.own_count(entry.numel) : 0;
    entries_.push_back(std::move(entry));
  }
  // Backward reaches the parameters roughly in the reverse of their registration.
  std::reverse(entries_.begin(), entries_.end());
  for (const auto& item : module.named_buffers()) {
    auto& list = at::isFloatingType(item.value().scalar_type()) ? buffers_ : counters_;
    list.push_back({item.key(), item.value()});
  }
  take_counts(module);
}

/// The layers let go of their counts, which stay among the module's buffers.
void ParameterStore::take_counts(torch::nn::Module& module) {
  const auto take = [&](auto* layer) {
    if (layer == nullptr || !layer->num_batches_tracked.defined()) return;
    TORCH_CHECK(layer->options.momentum(), "batch normalisation without momentum needs a count of its own");
    batch_counts_.push_back(layer->num_batches_tracked);
    layer->num_batches_tracked.reset();
  };
  module.apply([&](torch::nn::Module& layer) {
    take(layer.as<torch::nn::BatchNorm1d>());
    take(layer.as<torch::nn::BatchNorm2d>());
  });
}

void ParameterStore::count_batch() {
  if (!batch_counts_.empty()) at::_foreach_add_(batch_counts_, 1);
}

/// Of layers whose weights autocast would cast. Tied tensors may have other readers.
void ParameterStore::choose_bf16(torch::nn::Module& module) {
  std::unordered_set<c10::TensorImpl*> weights;
  const auto add = [&](const auto* layer) {
    if (layer != nullptr) weights.insert(layer->weight.unsafeGetTensorImpl());
  };
  module.apply([&](torch::nn::Module& layer) {
    add(layer.as<torch::nn::Linear>());
    add(layer.as<torch::nn::Conv1d>());
    add(layer.as<torch::nn::Conv2d>());
    add(layer.as<torch::nn::ConvTranspose1d>());
  });
  for (ParameterEntry& entry : entries_)
    entry.is_bf16 =
        entry.quantized && entry.aliases.empty() && weights.count(entry.parameter.unsafeGetTensorImpl()) > 0;
}

void ParameterStore::lay_out(BucketLimits limits) {
  int64_t master = 0, own = 0, gradient = 0;
  int64_t limit = limits.first_bytes;
  buckets_.push_back({});
  for (size_t i = 0; i < entries_.size(); ++i) {
    ParameterEntry& entry = entries_[i];
    entry.master_offset = master;
    master += aligned(entry.numel);
    entry.own_offset = own;
    own += aligned(entry.own_count);
    entry.gradient_offset = gradient;
    entry.own_gradient_offset = gradient + aligned(entry.numel);
    gradient += aligned(entry.numel) + aligned(entry.own_count);
    buckets_.back().entries.push_back(i);
    buckets_.back().end = gradient;
    if ((gradient - buckets_.back().begin) * 4 >= limit && i + 1 < entries_.size()) {
      buckets_.push_back({gradient, gradient, {}});
      limit = limits.bytes;
    }
  }
  int64_t buffer_numel = 0;
  for (const BufferEntry& buffer : buffers_) buffer_numel += buffer.tensor.numel();

  const auto options = entries_.empty() ? at::TensorOptions().dtype(at::kFloat)
                                        : entries_.front().parameter.options().requires_grad(false);
  master_ = at::zeros({master}, options);
  own_ = at::zeros({own}, options);
  gradient_ = at::zeros({gradient + buffer_numel + 4}, options);
  buckets_.back().end = gradient_.numel();
  buffer_tail_ = gradient_.narrow(0, gradient, buffer_numel);
  loss_tail_ = gradient_.narrow(0, gradient + buffer_numel, 1);
  nonfinite_tail_ = gradient_.narrow(0, gradient + buffer_numel + 1, 1);
  failed_tail_ = gradient_.narrow(0, gradient + buffer_numel + 2, 1);
  stop_tail_ = gradient_.narrow(0, gradient + buffer_numel + 3, 1);
  flags_tail_ = gradient_.narrow(0, gradient + buffer_numel + 2, 2);
}

void ParameterStore::repoint(Quantizer& quantizer) {
  // Only what is quantised (or rounded to fp16) needs memory of its own; the rest of compute is master
  // itself.
  const auto has_copy = [&](const ParameterEntry& entry) {
    return entry.quantized || quantizer.copies_kept();
  };
  int64_t floats = 0, bf16s = 0;
  for (const ParameterEntry& entry : entries_)
    (entry.is_bf16 ? bf16s : floats) += has_copy(entry) ? aligned(entry.numel) : 0;
  compute_ = at::zeros({floats}, master_.options());
  bf16_compute_ = at::zeros({bf16s}, master_.options().dtype(at::kBFloat16));

  std::vector<QuantizedTensor> quantized;
  std::vector<KeptTensor> kept;
  int64_t next_float = 0, next_bf16 = 0;
  for (ParameterEntry& entry : entries_) {
    const at::Tensor master = master_of(entry);
    at::Tensor seen = master;
    if (has_copy(entry)) {
      int64_t& next = entry.is_bf16 ? next_bf16 : next_float;
      seen = (entry.is_bf16 ? bf16_compute_ : compute_).narrow(0, next, entry.numel);
      next += aligned(entry.numel);
    }
    master.copy_(entry.parameter.reshape({-1}));
    seen.copy_(master);
    // set_data first, gradient after: a later change of type would replace the accumulator that the hooks sit
    // on.
    const auto shape = entry.parameter.sizes().vec();
    entry.parameter.set_data(seen.view(shape));
    if (!entry.is_bf16) entry.parameter.mutable_grad() = gradient_of(entry).view(shape);
    if (entry.quantized) {
      entry.quantizer_index = quantized.size();
      quantized.push_back({entry.name, master, seen, gradient_of(entry), own_of(entry),
                           own_gradient_of(entry), shape.size() > 1 ? shape[0] : 1,
                           entry.is_bf16 ? entry.parameter : at::Tensor()});
    } else {
      kept.push_back({entry.name, master, seen});
    }
  }
  quantizer.bind(std::move(quantized), std::move(kept));
}

at::Tensor ParameterStore::master_of(const ParameterEntry& entry) const {
  return master_.narrow(0, entry.master_offset, entry.numel);
}
at::Tensor ParameterStore::gradient_of(const ParameterEntry& entry) const {
  return gradient_.narrow(0, entry.gradient_offset, entry.numel);
}
at::Tensor ParameterStore::own_of(const ParameterEntry& entry) const {
  return own_.narrow(0, entry.own_offset, entry.own_count);
}
at::Tensor ParameterStore::own_gradient_of(const ParameterEntry& entry) const {
  return gradient_.narrow(0, entry.own_gradient_offset, entry.own_count);
}

int64_t ParameterStore::bytes() const {
  return 4 * (master_.numel() + own_.numel() + compute_.numel() + gradient_.numel()) +
         2 * bf16_compute_.numel();
}

}  // namespace diffq
