#pragma once
// In the place of a CUDA graph where there is no GPU: the work is done again.

#include <utility>

#include "trainer/step_graph.h"

namespace diffq {

class RepeatedWork : public StepGraph {
 public:
  static thread_local bool under_way;  ///< in any of the thread's

  void record(const std::function<void()>& work) override { work_ = work; }
  void replay() override {
    const UnderWay guard;
    work_();
  }

 private:
  struct UnderWay {
    UnderWay() { under_way = true; }
    ~UnderWay() { under_way = false; }
  };

  std::function<void()> work_;
};

}  // namespace diffq
