#include "trainer/run_checkpoints.h"

namespace diffq {
namespace {

std::vector<NamedTensor> tensors_of(const ParameterStore& store, TrainStep& step,
                                    const WeightAverage* average) {
  std::vector<NamedTensor> tensors = state_tensors(store, step);
  if (average != nullptr) {
    for (const auto& [name, tensor] : average->averages()) tensors.push_back({"average/" + name, tensor});
  }
  return tensors;
}

}  // namespace

RunCheckpoints::RunCheckpoints(const RunSpec& spec, const RunContext& context, Communicator& communicator,
                               const ParameterStore& store, TrainStep& step, const WeightAverage* average)
    : spec_(spec),
      context_(context),
      communicator_(communicator),
      step_(step),
      checkpoints_(context.checkpoint_folder, context.run_id, store, step, tensors_of(store, step, average)) {
}

TrainingCheckpoints::Restored RunCheckpoints::restore() {
  if (context_.checkpoint_folder.empty()) return {};
  return checkpoints_.restore(communicator_);
}

void RunCheckpoints::begin(const TrainingCheckpoints::Restored& restored) {
  if (context_.checkpoint_folder.empty() || communicator_.rank() != 0) return;
  writer_.emplace(context_.checkpoint_folder);
  for (const std::string& warning : restored.warnings) context_.on_warning(warning);
  if (restored.file.empty()) return;
  const TrainingState& from = restored.state;
  context_.on_resume({restored.file, from.epoch + 1, from.epoch_steps, from.epochs});
}

void RunCheckpoints::keep(const TrainingState& state, bool wanted) {
  if (context_.copies_state && copied_.memory.empty()) checkpoints_.copy(state, copied_);
  if (!writer_ || writer_->busy()) return;
  const auto now = std::chrono::steady_clock::now();
  const auto pause = std::chrono::duration<double, std::ratio<60>>(spec_.train.checkpoint_minutes);
  if (!wanted && now - last_ < pause) return;
  last_ = now;
  // The tensors have the last step in them, which on a GPU the host has not counted yet.
  TrainingState counted = state;
  if (const auto last = step_.peek()) counted.add(*last);
  writer_->write([&](Snapshot& snapshot) {
    checkpoints_.copy(counted, snapshot);
    communicator_.check();
  });
  tell_problem("the checkpoint before it stays");
}

void RunCheckpoints::keep_last(const TrainingState& state) {
  if (!writer_) return;
  writer_->wait();
  keep(state, /*wanted=*/true);
  writer_->wait();
  tell_problem("the run will go on from the checkpoint before it");
}

void RunCheckpoints::tell_problem(const char* consequence) {
  const std::string problem = writer_->take_problem();
  if (!problem.empty()) context_.on_warning(problem + "; " + consequence);
}

}  // namespace diffq
