#pragma once
// A training step in two halves that are recorded and repeated, with the sums over ranks between them: up to
// this rank's gradients, and from the summed gradients on. The first steps run as they are, so that all
// that is made once (algorithms, workspaces, kernels) is there before a half is recorded.

#include <array>
#include <vector>

#include "datasets/dataset.h"
#include "trainer/step_graph.h"

namespace diffq {

class RecordedStep {
 public:
  enum Half { to_gradients, update };
  static constexpr int kStepsBefore = 3;  ///< that run as they are

  RecordedStep(MakeStepGraph make_graph, at::Device device) : make_graph_(make_graph), device_(device) {}

  /// Takes the step's micro-batches to where a recorded half reads them; the host does not wait. A step of
  /// another shape, or with bits frozen where they were not, has to be recorded anew.
  void begin(const std::vector<Batch>& batches, bool frozen);
  /// Those of begin(), on the device, in memory that stays.
  const std::vector<Batch>& batches() const { return batches_; }
  /// Runs or records `work`, or repeats what was recorded of it.
  void run(Half half, const std::function<void()>& work);

 private:
  bool fits(const std::vector<Batch>& batches) const;

  MakeStepGraph make_graph_;
  at::Device device_;
  std::vector<Batch> batches_;
  bool frozen_ = false;
  int steps_ = 0;  ///< begun since something changed
  std::array<std::unique_ptr<StepGraph>, 2> graphs_;
};

}  // namespace diffq
