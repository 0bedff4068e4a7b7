#include "trainer/model_file.h"

#include <torch/torch.h>

#include <map>
#include <set>
#include <stdexcept>

#include "results/durable_file.h"

namespace diffq {
namespace {

/// A tensor of a model under all of its names.
struct Target {
  std::vector<std::string> names;  ///< the first owns
  std::vector<int64_t> shape;
  at::Tensor values;  ///< to be overwritten
};

std::vector<Target> targets_of(const torch::nn::Module& module) {
  std::vector<Target> targets;
  std::map<c10::TensorImpl*, size_t> seen;
  for (const auto& item : module.named_parameters()) {
    const auto [place, is_new] = seen.emplace(item.value().unsafeGetTensorImpl(), targets.size());
    if (is_new) targets.push_back({{}, item.value().sizes().vec(), item.value()});
    targets[place->second].names.push_back(item.key());
  }
  for (const auto& item : module.named_buffers())
    targets.push_back({{item.key()}, item.value().sizes().vec(), item.value()});
  return targets;
}

/// The file's tensor of any of the target's names, or nullptr.
const ModelTensor* find(const PackedModel& file, const Target& target) {
  for (const std::string& name : target.names) {
    if (const ModelTensor* tensor = file.find(name)) return tensor;
  }
  return nullptr;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

bool is_floating(const Target& target) { return at::isFloatingType(target.values.scalar_type()); }

/// Why the file's tensor can't be the target's, or empty.
std::string difference(const ModelTensor* tensor, const Target& target) {
  const std::string& name = target.names.front();
  if (tensor == nullptr) {
    // Old checkpoints count no batches; nothing reads the count.
    return is_floating(target) ? name + " is missing" : "";
  }
  if (tensor->shape != target.shape)
    return name + " is " + shape_text(tensor->shape) + ", the model's is " + shape_text(target.shape);
  if (is_floating(target) ? !PackedModel::has_values(*tensor) : tensor->dtype != "I64")
    return name + " is of type " + tensor->dtype;
  return "";
}

std::string differences(const PackedModel& file, const std::vector<Target>& targets) {
  constexpr size_t kShown = 3;
  std::vector<std::string> found;
  std::set<const ModelTensor*> used;
  for (const Target& target : targets) {
    for (const std::string& name : target.names) used.insert(file.find(name));
    if (std::string what = difference(find(file, target), target); !what.empty())
      found.push_back(std::move(what));
  }
  for (const ModelTensor& tensor : file.tensors()) {
    if (!used.contains(&tensor))
      found.push_back(tensor.name + " " + shape_text(tensor.shape) + " is not in the model");
  }
  std::string text;
  for (size_t i = 0; i < std::min(found.size(), kShown); ++i) text += (i > 0 ? "; " : "") + found[i];
  if (found.size() > kShown) text += "; and " + std::to_string(found.size() - kShown) + " more";
  return text;
}

void load(const PackedModel& file, const std::vector<Target>& targets) {
  torch::NoGradGuard no_grad;
  if (const std::string what = differences(file, targets); !what.empty())
    throw std::invalid_argument("is of another model: " + what);
  for (const Target& target : targets) {
    const ModelTensor* tensor = find(file, target);
    if (tensor == nullptr) continue;
    at::Tensor values = at::empty(target.shape, is_floating(target) ? at::kFloat : at::kLong);
    if (is_floating(target)) {
      file.unpack(*tensor, values.mutable_data_ptr<float>());
    } else {
      std::copy(tensor->bytes.begin(), tensor->bytes.end(), static_cast<uint8_t*>(values.mutable_data_ptr()));
    }
    target.values.copy_(values.view_as(target.values));
  }
}

/// Adds values as they are; from a GPU's memory, and of another type than they have, a copy of them.
void add_plain(PackedModelWriter& model, const std::string& name, const std::string& dtype,
               const std::vector<int64_t>& shape, const at::Tensor& values) {
  const auto host = std::make_shared<at::Tensor>(values.cpu());
  const std::span<const uint8_t> bytes(static_cast<const uint8_t*>(host->const_data_ptr()), host->nbytes());
  model.add_plain(name, dtype, shape, bytes, host);
}

}  // namespace

PackedModelWriter pack_model(const ParameterStore& store, const Quantizer& quantizer, Coding coding,
                             const std::string& config) {
  PackedModelWriter model(quantizer.grid(), coding, config);
  // The store has its entries in backward order; files have them as the model does.
  for (size_t i = store.entries().size(); i-- > 0;) {
    const ParameterEntry& entry = store.entries()[i];
    const std::vector<int64_t> shape = entry.parameter.sizes().vec();
    if (entry.quantized) {
      const size_t t = entry.quantizer_index;
      model.add_packed(entry.name, shape, quantizer.layout(t).group_size, quantizer.pack(t, coding),
                       quantizer.layout(t).channels);
    } else if (quantizer.copies_kept()) {
      add_plain(model, entry.name, "F16", shape, store.master_of(entry).to(at::kHalf));
    } else {
      add_plain(model, entry.name, "F32", shape, store.master_of(entry));
    }
    for (const std::string& alias : entry.aliases) model.add_alias(alias, entry.name);
  }
  for (const auto& buffer : store.buffers())
    add_plain(model, buffer.name, "F32", buffer.tensor.sizes().vec(), buffer.tensor);
  for (const auto& counter : store.counters())
    add_plain(model, counter.name, "I64", counter.tensor.sizes().vec(), counter.tensor);
  return model;
}

void write_model(const std::filesystem::path& path, const PackedModelWriter& model) {
  replace_file(path, [&](const std::filesystem::path& temporary) { model.write(temporary); });
}

std::string differences(const PackedModel& file, const torch::nn::Module& module) {
  return differences(file, targets_of(module));
}

TensorBits bits_of(const PackedModel& file, const ModelTensor& tensor) {
  const std::vector<uint8_t> bits = file.bits(tensor);
  return {tensor.name, tensor.numel, tensor.layout.group_size, {bits.begin(), bits.end()}};
}

void load_module(const PackedModel& file, torch::nn::Module& module) { load(file, targets_of(module)); }

void load_masters(const PackedModel& file, const torch::nn::Module& module, const ParameterStore& store) {
  std::map<std::string, at::Tensor> masters;
  for (const ParameterEntry& entry : store.entries()) masters[entry.name] = store.master_of(entry);
  std::vector<Target> targets = targets_of(module);
  for (Target& target : targets) {
    const auto found = masters.find(target.names.front());
    if (found != masters.end()) target.values = found->second;
  }
  load(file, targets);
}

}  // namespace diffq
