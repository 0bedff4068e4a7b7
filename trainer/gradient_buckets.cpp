#include "trainer/gradient_buckets.h"

#include <torch/torch.h>

#include <cmath>
#include <map>

namespace diffq {
namespace {

/// Gradients of at most so many entries are copied together, as most of a model's parameters are small, and
/// on a GPU each copy is a launch. Larger ones are copied at once, while they are in the cache, and faster by
/// themselves.
constexpr int64_t kSmall = 65536;

/// A part of something larger is not: it would keep all of that in memory. Nor is one in another order, which
/// would take a copy first.
bool is_small(const at::Tensor& gradient) {
  return gradient.defined() && gradient.numel() <= kSmall && gradient.is_contiguous() &&
         gradient.storage().nbytes() == gradient.nbytes();
}

/// One launch on a GPU, where there may be a hundred.
void copy_all(const std::vector<at::Tensor>& from, std::vector<at::Tensor>& to) {
  if (!from.empty()) at::_foreach_copy_(to, from);
}

}  // namespace

// Fires when torch has a parameter's complete gradient.
class GradientBuckets::Hook : public torch::autograd::FunctionPostHook {
 public:
  Hook(std::weak_ptr<GradientBuckets*> buckets, size_t entry) : buckets_(std::move(buckets)), entry_(entry) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    if (const auto buckets = buckets_.lock()) (*buckets)->ready(entry_);
    return outputs;
  }

 private:
  std::weak_ptr<GradientBuckets*> buckets_;
  size_t entry_;
};

GradientBuckets::GradientBuckets(ParameterStore& store, Quantizer& quantizer, Communicator& communicator)
    : store_(store),
      quantizer_(quantizer),
      communicator_(communicator),
      self_(std::make_shared<GradientBuckets*>(this)),
      bucket_of_(store.entries().size()),
      missing_(store.buckets().size()),
      fired_count_(store.entries().size()),
      filled_(store.entries().size()),
      old_buffers_(at::zeros_like(store.buffer_tail())) {
  for (size_t b = 0; b < store.buckets().size(); ++b) {
    for (const size_t entry : store.buckets()[b].entries) bucket_of_[entry] = b;
  }
  int64_t offset = 0;
  for (const auto& [name, buffer] : store.buffers()) {
    buffers_.push_back(buffer);
    old_views_.push_back(old_buffers_.narrow(0, offset, buffer.numel()).view_as(buffer));
    tail_views_.push_back(store.buffer_tail().narrow(0, offset, buffer.numel()).view_as(buffer));
    offset += buffer.numel();
  }
  for (size_t i = 0; i < store.entries().size(); ++i) {
    auto node = torch::autograd::impl::grad_accumulator(store.entries()[i].parameter);
    hooks_.push_back(node->add_post_hook(std::make_unique<Hook>(self_, i)));
    accumulators_.push_back(std::move(node));
  }
}

GradientBuckets::~GradientBuckets() {
  for (size_t i = 0; i < hooks_.size(); ++i) accumulators_[i]->del_post_hook(hooks_[i]);
}

void GradientBuckets::begin(bool held) {
  torch::NoGradGuard no_grad;
  // Where a parameter has no gradient, torch hands over the tensor that backward made, without adding it to
  // zeros.
  for (const ParameterEntry& entry : store_.entries()) at::Tensor(entry.parameter).mutable_grad().reset();
  std::fill(filled_.begin(), filled_.end(), false);
  copy_all(buffers_, old_views_);
  for (size_t b = 0; b < missing_.size(); ++b)
    missing_[b] = static_cast<int64_t>(store_.buckets()[b].entries.size());
  std::fill(fired_count_.begin(), fired_count_.end(), 0);
  next_bucket_ = 0;
  armed_ = false;
  held_ = held;
  stop_ = false;
}

void GradientBuckets::arm() { armed_ = true; }

void GradientBuckets::ready(size_t entry) {
  torch::NoGradGuard no_grad;
  if (!armed_ || filled_[entry] || !is_small(store_.entries()[entry].parameter.grad())) take_gradient(entry);
  if (!armed_) return;
  if (fired_count_[entry]++ > 0) return;
  --missing_[bucket_of_[entry]];
  // A full bucket waits for its predecessors; the last one waits for finish().
  while (next_bucket_ + 1 < store_.buckets().size() && missing_[next_bucket_] == 0) start_next();
}

/// Into the flat buffer; those of further micro-batches are added.
void GradientBuckets::take_gradient(size_t entry) {
  at::Tensor parameter = store_.entries()[entry].parameter;
  at::Tensor& gradient = parameter.mutable_grad();
  if (!gradient.defined()) return;
  const at::Tensor flat = store_.gradient_of(store_.entries()[entry]).view(parameter.sizes());
  if (filled_[entry]) {
    flat.add_(gradient);
  } else {
    flat.copy_(gradient);
  }
  filled_[entry] = true;
  gradient.reset();
}

/// Those that wait for their bucket, in one launch for each type.
void GradientBuckets::take_small_gradients(const Bucket& bucket) {
  struct Copies {
    std::vector<at::Tensor> from, to;
  };
  std::map<at::ScalarType, Copies> copies;
  for (const size_t entry : bucket.entries) {
    const at::Tensor gradient = store_.entries()[entry].parameter.grad();
    if (filled_[entry] || !gradient.defined()) continue;
    Copies& of_type = copies[gradient.scalar_type()];
    of_type.from.push_back(gradient.view({-1}));
    of_type.to.push_back(store_.gradient_of(store_.entries()[entry]));
    filled_[entry] = true;
  }
  for (auto& [type, of_type] : copies) copy_all(of_type.from, of_type.to);
  for (const size_t entry : bucket.entries)
    at::Tensor(store_.entries()[entry].parameter).mutable_grad().reset();
}

void GradientBuckets::pull_back(const Bucket& bucket) {
  take_small_gradients(bucket);
  std::vector<size_t> tensors;
  for (const size_t entry : bucket.entries) {
    // Unused, or of a layer that was dropped.
    if (!filled_[entry]) store_.gradient_of(store_.entries()[entry]).zero_();
    if (store_.entries()[entry].quantized) tensors.push_back(store_.entries()[entry].quantizer_index);
  }
  quantizer_.pull_back(tensors);
}

void GradientBuckets::start_next() {
  const Bucket& bucket = store_.buckets()[next_bucket_];
  pull_back(bucket);
  ++next_bucket_;
  if (!held_) start_sum(bucket);
}

void GradientBuckets::start_sum(const Bucket& bucket) {
  communicator_.start_sum(store_.gradient().slice(0, bucket.begin, bucket.end));
}

void GradientBuckets::complete(const at::Tensor& loss) {
  torch::NoGradGuard no_grad;
  while (next_bucket_ < store_.buckets().size()) start_next();
  fill_tail(loss);
}

std::string GradientBuckets::finish(const at::Tensor& loss, std::string failure) {
  torch::NoGradGuard no_grad;
  armed_ = false;
  if (held_) {
    start_held(failure);
  } else {
    failure = start_rest(loss, std::move(failure));
  }
  communicator_.wait();
  average_buffers();
  if (store_.gradient().is_cpu()) read_flags();
  return failure;
}

std::string GradientBuckets::start_rest(const at::Tensor& loss, std::string failure) {
  for (; next_bucket_ < store_.buckets().size(); ++next_bucket_) {
    const Bucket& bucket = store_.buckets()[next_bucket_];
    try {
      if (failure.empty()) pull_back(bucket);
    } catch (const std::exception& error) {
      failure = reason_of(error);
    }
    if (!failure.empty()) store_.gradient().slice(0, bucket.begin, bucket.end).zero_();
    if (next_bucket_ + 1 == store_.buckets().size()) {
      fill_tail(loss);
      fill_flags(!failure.empty());
    }
    start_sum(bucket);
  }
  return failure;
}

void GradientBuckets::start_held(const std::string& failure) {
  if (!failure.empty()) {
    store_.gradient().zero_();
    fill_buffer_tail();
  }
  fill_flags(!failure.empty());
  for (const Bucket& bucket : store_.buckets()) start_sum(bucket);
}

void GradientBuckets::fill_tail(const at::Tensor& loss) {
  fill_buffer_tail();
  // 0 in place of what is not finite, which then differs from what it was.
  const at::Tensor given = loss.to(store_.gradient().options()).reshape({1});
  at::Tensor finite = store_.loss_tail(), differs = store_.nonfinite_tail();
  at::nan_to_num_out(finite, given, 0.0, 0.0, 0.0);
  at::ne_out(differs, given, finite);
}

/// Where there is somebody to average them with.
void GradientBuckets::fill_buffer_tail() {
  if (communicator_.size() > 1) copy_all(buffers_, tail_views_);
}

void GradientBuckets::fill_flags(bool failed) {
  store_.flags_tail().zero_();
  if (failed) store_.failed_tail().fill_(1.0);
  if (stop_) store_.stop_tail().fill_(1.0);
}

void GradientBuckets::average_buffers() {
  if (communicator_.size() == 1) return;
  for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_(tail_views_[i] / communicator_.divisor());
}

void GradientBuckets::read_flags() {
  const double divisor = communicator_.divisor();
  const auto ranks = [&](const at::Tensor& flag) {
    return static_cast<int>(std::lround(flag.item<float>() * communicator_.size() / divisor));
  };
  mean_loss_ = store_.loss_tail().item<float>() / divisor;
  nonfinite_ranks_ = ranks(store_.nonfinite_tail());
  failed_ranks_ = ranks(store_.failed_tail());
  stop_ranks_ = ranks(store_.stop_tail());
}

void GradientBuckets::restore_buffers() {
  torch::NoGradGuard no_grad;
  copy_all(old_views_, buffers_);
}

}  // namespace diffq
