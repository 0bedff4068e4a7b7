#pragma once
// Sums the gradients of a step over the group while backward still runs. A hook on each parameter tells when
// its gradient is complete; a full bucket is pulled back by the quantizer and its sum started. Buckets start
// strictly in index order on every rank, and the last one always in finish(), so that all ranks issue the
// same sums whatever happens.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/communicator.h"
#include "trainer/parameter_store.h"

namespace torch::autograd {
struct Node;
}

namespace diffq {

class GradientBuckets {
 public:
  /// Everything is borrowed and must outlive the buckets. Puts a hook on every parameter.
  GradientBuckets(ParameterStore& store, Quantizer& quantizer, Communicator& communicator);
  ~GradientBuckets();  ///< takes the hooks off
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Starts a step: no gradients, and a copy of the model's buffers to fall back to. With `held` no sum
  /// starts before finish(), and complete() has to come before it.
  void begin(bool held = false);
  /// Whether this rank wants the group to stop after the step; finish() tells all. Cleared by begin().
  void set_stop(bool stop) { stop_ = stop; }
  /// Before backward of the step's last micro-batch: from now on a complete gradient fills its bucket.
  void arm();
  /// With held sums: ends what a step that was recorded repeats, this rank's gradients and loss.
  void complete(const at::Tensor& loss);
  /// Ends the step on this rank, however it went: fills in what is missing, starts the remaining sums in
  /// order, waits. `loss`: this rank's mean loss, one number. `failure`: why this rank failed, or empty; if
  /// it did, buckets not yet started are summed as zeros, so that no rank waits. Then gradient() holds the
  /// sums over ranks (divisor() makes them means), and the model's buffers their means. Returns `failure`, or
  /// why the quantizer failed meanwhile; throws only what the communicator throws.
  std::string finish(const at::Tensor& loss, std::string failure);

  // After finish() on the CPU. On a GPU the host does not wait for them: UpdateReport has them.
  double mean_loss() const { return mean_loss_; }                 ///< over the group
  int nonfinite_ranks() const { return nonfinite_ranks_; }        ///< ranks whose loss was not finite
  int failed_ranks() const { return failed_ranks_; }              ///< ranks that finished with a failure
  int stop_ranks() const { return stop_ranks_; }                  ///< ranks whose stop was set
  const at::Tensor& old_buffers() const { return old_buffers_; }  ///< of begin(), flat
  void restore_buffers();  ///< puts the model's buffers back to those of begin()
  int64_t hook_calls(size_t entry) const { return fired_count_[entry]; }  ///< since begin(), while armed

 private:
  class Hook;
  void ready(size_t entry);
  void take_gradient(size_t entry);
  void take_small_gradients(const Bucket& bucket);
  void pull_back(const Bucket& bucket);
  void start_next();
  std::string start_rest(const at::Tensor& loss, std::string failure);
  void start_held(const std::string& failure);
  void start_sum(const Bucket& bucket);
  void fill_tail(const at::Tensor& loss);
  void fill_buffer_tail();
  void fill_flags(bool failed);
  void average_buffers();
  void read_flags();

  ParameterStore& store_;
  Quantizer& quantizer_;
  Communicator& communicator_;
  std::vector<std::shared_ptr<torch::autograd::Node>>
      accumulators_;  ///< torch holds them weakly, with their hooks
  std::vector<uintptr_t> hooks_;
  std::shared_ptr<GradientBuckets*> self_;  ///< null once destroyed: a hook that outlives us does nothing
  std::vector<size_t> bucket_of_;
  std::vector<int64_t> missing_;      ///< parameters of each bucket whose gradient is not complete
  std::vector<int64_t> fired_count_;  ///< of each parameter, this step
  std::vector<bool> filled_;          ///< whether gradient() has this step's gradient of each parameter
  at::Tensor old_buffers_;
  // Of the model's buffers: themselves, and their places in old_buffers_ and in the tail of the last bucket.
  std::vector<at::Tensor> buffers_, old_views_, tail_views_;
  size_t next_bucket_ = 0;
  bool armed_ = false, held_ = false, stop_ = false;
  double mean_loss_ = 0;
  int nonfinite_ranks_ = 0, failed_ranks_ = 0, stop_ranks_ = 0;
};

}  // namespace diffq
