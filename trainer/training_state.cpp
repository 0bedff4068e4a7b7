#include "trainer/training_state.h"

#include <torch/torch.h>

#include <cstring>
#include <map>

namespace diffq {
namespace {

constexpr const char* kFormat = "diffq-checkpoint/1";

std::string dtype_of(const NamedTensor& named) {
  const auto type = named.tensor.scalar_type();
  if (type == at::kFloat) return "F32";
  if (type == at::kLong) return "I64";
  if (type == at::kDouble) return "F64";
  throw std::logic_error(named.name + ": checkpoints have no such type");
}

// An optimiser's state lies flat over its ranges, which are those of the store's entries in order.
void add_optimizer(const std::string& prefix, const ParameterStore& store, const Optimizer& optimizer,
                   int64_t ParameterEntry::*count, std::vector<NamedTensor>& tensors) {
  for (const auto& [name, flat] : optimizer.state()) {
    int64_t offset = 0;
    for (const ParameterEntry& entry : store.entries()) {
      if (entry.*count == 0) continue;
      tensors.push_back({prefix + "." + name + "/" + entry.name, flat.narrow(0, offset, entry.*count)});
      offset += entry.*count;
    }
  }
}

/// The bucket plan: sums over three ranks and more depend on it in their last bit.
std::string plan_of(const ParameterStore& store) {
  nlohmann::json plan = nlohmann::json::array();
  for (const Bucket& bucket : store.buckets()) plan.push_back({bucket.begin, bucket.end});
  return plan.dump();
}

nlohmann::json to_json(const TrainingState& state, TrainStep& step) {
  RunRecord record;
  record.epochs = state.epochs;
  record.epochs.emplace_back().lr = state.lr;  // rows have the way to write what is no number
  return {{"epoch", state.epoch},
          {"epoch_steps", state.epoch_steps},
          {"loss_sum", state.loss_sum},
          {"counted", state.counted},
          {"epoch_seconds", state.epoch_seconds},
          {"lambda_sum", state.lambda_sum},
          {"penalty", state.penalty},
          {"steps", state.steps},
          {"skipped_steps", state.skipped_steps},
          {"skipped_in_a_row", state.skipped_in_a_row},
          {"train_seconds", state.train_seconds},
          {"weights_steps", step.weights_optimizer().steps()},
          {"own_steps", step.own_optimizer().steps()},
          {"record", diffq::to_json(record)}};
}

TrainingState from_json(const nlohmann::json& json, TrainStep& step) {
  TrainingState state;
  state.epoch = json.at("epoch");
  state.epoch_steps = json.at("epoch_steps");
  state.loss_sum = json.at("loss_sum");
  state.counted = json.at("counted");
  state.epoch_seconds = json.at("epoch_seconds");
  state.lambda_sum = json.at("lambda_sum");
  state.penalty = json.at("penalty");
  state.steps = json.at("steps");
  state.skipped_steps = json.at("skipped_steps");
  state.skipped_in_a_row = json.at("skipped_in_a_row");
  state.train_seconds = json.at("train_seconds");
  state.epochs = record_from_json(json.at("record")).epochs;
  state.lr = state.epochs.back().lr;
  state.epochs.pop_back();
  step.weights_optimizer().set_steps(json.at("weights_steps"));
  step.own_optimizer().set_steps(json.at("own_steps"));
  return state;
}

std::string broadcast(Communicator& communicator, const std::string& text) {
  at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  communicator.broadcast(length);
  at::Tensor bytes = at::empty({length.item<int64_t>()}, at::kByte);
  if (communicator.rank() == 0) std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  if (bytes.numel() > 0) communicator.broadcast(bytes);
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())};
}

}  // namespace

void TrainingState::add(const StepResult& result) {
  if (result.skipped.empty()) {
    loss_sum += result.loss;
    ++counted;
    skipped_in_a_row = 0;
  } else {
    ++skipped_steps;
    ++skipped_in_a_row;
  }
}

void TrainingState::next_epoch(const EpochRow& finished) {
  epochs.push_back(finished);
  train_seconds += finished.seconds;
  ++epoch;
  epoch_steps = counted = 0;
  loss_sum = lambda_sum = epoch_seconds = 0;
}

std::vector<NamedTensor> state_tensors(const ParameterStore& store, TrainStep& step) {
  std::vector<NamedTensor> tensors;
  // Types of more bytes first: so all are aligned in the file.
  for (const auto& counter : store.counters()) tensors.push_back({"buffer/" + counter.name, counter.tensor});
  for (const auto& buffer : store.buffers()) tensors.push_back({"buffer/" + buffer.name, buffer.tensor});
  for (const ParameterEntry& entry : store.entries()) {
    tensors.push_back({"master/" + entry.name, store.master_of(entry)});
    if (entry.own_count > 0) tensors.push_back({"own/" + entry.name, store.own_of(entry)});
  }
  add_optimizer("weights", store, step.weights_optimizer(), &ParameterEntry::numel, tensors);
  add_optimizer("own", store, step.own_optimizer(), &ParameterEntry::own_count, tensors);
  return tensors;
}

TrainingCheckpoints::TrainingCheckpoints(std::filesystem::path folder, std::string run_id,
                                         const ParameterStore& store, TrainStep& step,
                                         std::vector<NamedTensor> tensors)
    : folder_(std::move(folder)),
      run_id_(std::move(run_id)),
      store_(store),
      step_(step),
      tensors_(std::move(tensors)) {}

void TrainingCheckpoints::copy(const TrainingState& state, Snapshot& snapshot) const {
  snapshot.step = state.steps;
  snapshot.metadata = {{"format", kFormat},
                       {"run_id", run_id_},
                       {"buckets", plan_of(store_)},
                       {"threads", std::to_string(at::get_num_threads())},
                       {"state", to_json(state, step_).dump()}};
  snapshot.tensors.clear();
  size_t size = 0;
  for (const NamedTensor& named : tensors_) {
    const size_t bytes = named.tensor.nbytes();
    snapshot.tensors.push_back({named.name, dtype_of(named), named.tensor.sizes().vec(), size, bytes});
    size += bytes;
  }
  snapshot.memory.resize(size);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const at::Tensor& from = tensors_[i].tensor;
    at::from_blob(snapshot.memory.data() + snapshot.tensors[i].offset, from.sizes(),
                  from.options().device(at::kCPU).requires_grad(false))
        .copy_(from);
  }
}

/// Sets all tensors, or throws std::invalid_argument and changes none.
TrainingState TrainingCheckpoints::load(const std::filesystem::path& path,
                                        std::vector<std::string>& warnings) {
  const SafetensorsFile file = read_checkpoint(path);
  const auto refuse = [&](const std::string& what) {
    throw std::invalid_argument(path.string() + ": " + what);
  };
  const auto text = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? "" : found->second;
  };
  if (text("format") != kFormat) refuse("is no checkpoint of this program");
  if (text("run_id") != run_id_) refuse("is of run \"" + text("run_id") + "\"");
  if (text("buckets") != plan_of(store_)) refuse("was made with other buckets of gradients");
  std::map<std::string, const StoredTensor*> stored;
  for (const StoredTensor& tensor : file.tensors) stored[tensor.name] = &tensor;
  if (stored.size() != tensors_.size()) refuse("does not hold the tensors of this run");
  for (const NamedTensor& named : tensors_) {
    const auto found = stored.find(named.name);
    if (found == stored.end() || found->second->dtype != dtype_of(named) ||
        found->second->shape != named.tensor.sizes().vec())
      refuse("has no " + named.name + " of the right shape");
  }
  const TrainingState state = from_json(nlohmann::json::parse(text("state")), step_);
  for (const NamedTensor& named : tensors_) {
    const StoredTensor& from = *stored.at(named.name);
    const at::Tensor values = at::empty(named.tensor.sizes(), named.tensor.options().device(at::kCPU));
    std::copy(from.bytes.begin(), from.bytes.end(), static_cast<uint8_t*>(values.mutable_data_ptr()));
    at::Tensor(named.tensor).copy_(values);
  }
  const std::string then = text("threads"), now = std::to_string(at::get_num_threads());
  if (store_.master().is_cpu() && !then.empty() && then != now) {
    warnings.push_back(path.string() + ": threads a rank were " + then + " when it was written and are " +
                       now +
                       " now: results are the same to the last bit only with as many; OMP_NUM_THREADS sets "
                       "them");
  }
  return state;
}

TrainingCheckpoints::Restored TrainingCheckpoints::restore(Communicator& communicator) {
  torch::NoGradGuard no_grad;
  Restored restored;
  if (communicator.rank() == 0) {
    for (const CheckpointFile& file : list_checkpoints(folder_)) {
      try {
        restored.state = load(file.path, restored.warnings);
        restored.file = file.path.filename();
        break;
      } catch (const std::exception& error) {
        restored.warnings.push_back(std::string(error.what()) + "; it is removed");
        std::error_code ignored;
        std::filesystem::remove(file.path, ignored);
      }
    }
  }
  restored.file = broadcast(communicator, restored.file);
  if (restored.file.empty()) return restored;
  const std::string state = broadcast(communicator, to_json(restored.state, step_).dump());
  restored.state = from_json(nlohmann::json::parse(state), step_);
  for (const NamedTensor& named : tensors_) communicator.broadcast(named.tensor);
  return restored;
}

}  // namespace diffq
