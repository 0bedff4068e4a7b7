#pragma once
// The end of a training step on a GPU, without the host: what TrainStep decides and the optimisers do on the
// CPU are kernels here (update_kernels.h). What came of a step is sent to the host, and read a step later.

#include <c10/core/Event.h>

#include <array>
#include <optional>

#include "trainer/optimizers.h"
#include "trainer/parameter_store.h"
#include "trainer/update_kernels.h"

namespace diffq {

class DeviceUpdate {
 public:
  /// `old_buffers`: the model's buffers before the step, flat, for a step that is skipped. `divisor`: of sums
  /// over ranks. `max_norm`: of the weights' gradient, 0 for no clipping. All is borrowed.
  DeviceUpdate(const ParameterStore& store, Optimizer& weights, Optimizer& own, const at::Tensor& old_buffers,
               double divisor, double max_norm, const UpdateKernels& kernels);

  void begin(double lr, double own_lr);
  /// When the gradients are summed: what is to be done.
  void judge();
  /// When the size's gradient is added to the bits': does it.
  void update();
  /// Then: the report, to the host.
  void send();

  int unread() const { return sent_ - read_; }  ///< reports sent and not read; at most 2
  /// The oldest of them, which stays unread; waits only if the GPU is not that far. The optimisers' steps are
  /// set to it.
  UpdateReport peek();
  UpdateReport read();
  /// 1 where the last step changed the weights, else 0: float32 [1] on the device.
  at::Tensor updated() const;

 private:
  void add_ranges(const std::vector<OptimizerRange>& ranges);
  void fill_table(const ParameterStore& store, const at::Tensor& old_buffers);
  void send_steps();
  at::Tensor report_bytes() const;

  Optimizer &weights_, &own_;
  const UpdateKernels& kernels_;
  at::Device device_;
  std::vector<UpdateRange> ranges_;
  std::vector<Stretch> chunks_;
  UpdateTable table_{};
  std::vector<at::Tensor> table_memory_;
  at::Tensor state_;  ///< an UpdateState, as bytes
  struct Slot {
    at::Tensor bytes;  ///< of an UpdateReport, in the host's memory
    std::optional<c10::Event> sent;
  };
  std::array<Slot, 2> slots_;
  int sent_ = 0, read_ = 0;
};

}  // namespace diffq
