#include "tests/support/test_device.h"
#include "trainer/update_kernel_table.h"

namespace diffq {
namespace {

class RepeatedWork : public StepGraph {
 public:
  void record(const std::function<void()>& work) override { work_ = work; }
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

}  // namespace

const UpdateKernels& test_update_kernels() { return kUpdateKernels; }
MakeStepGraph test_step_graphs() {
  return []() -> std::unique_ptr<StepGraph> { return std::make_unique<RepeatedWork>(); };
}

}  // namespace diffq
