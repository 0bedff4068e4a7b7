#include "launcher/model_commands.h"

#include <torch/torch.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "datasets/dataset.h"
#include "launcher/gpu_map.h"
#include "launcher/world.h"
#include "results/durable_file.h"
#include "sweeps/json_reader.h"
#include "sweeps/spec_keys.h"
#include "sweeps/sweep.h"
#include "trainer/device.h"
#include "trainer/evaluate.h"
#include "trainer/model_file.h"
#include "trainer/run_measures.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

/// Place in the table of the word that the user gave as `option`.
template <class Table>
size_t index_of(const std::string& word, const Table& table, const std::string& option) {
  return to_word(OrderedJson(word), {option, ""}, words_of(table));
}

/// The model of the one run whose id begins with `run`.
fs::path find_model(const fs::path& folder, const std::string& run) {
  if (!fs::is_directory(folder / "runs"))
    throw std::invalid_argument(folder.string() + ": holds no runs; give the --out folder of a sweep");
  std::vector<std::string> found;
  for (const auto& each : fs::directory_iterator(folder / "runs")) {
    if (each.path().filename().string().starts_with(run)) found.push_back(each.path().filename().string());
  }
  if (found.size() != 1) {
    throw std::invalid_argument(folder.string() + ": " +
                                (found.empty() ? "has no run " : "has several runs ") + run +
                                "; results.csv and the names of the folders in runs/ are the run ids");
  }
  const fs::path model = folder / "runs" / found.front() / "model.safetensors";
  if (!fs::exists(model))
    throw std::invalid_argument(model.string() + ": is not there; the run has not finished");
  return model;
}

PackedModelWriter repacked(const PackedModel& model, Coding coding) {
  PackedModelWriter writer(model.grid(), coding, model.config());
  for (const ModelTensor& tensor : model.tensors()) {
    if (tensor.packed) {
      writer.add_packed(tensor.name, tensor.shape, tensor.layout.group_size,
                        recode_tensor(tensor.layout, model.coding(), tensor.bytes, coding),
                        tensor.layout.channels);
    } else {
      writer.add_plain(tensor.name, tensor.dtype, tensor.shape, tensor.bytes);
    }
  }
  for (const auto& [alias, name] : model.aliases()) writer.add_alias(alias, name);
  return writer;
}

std::span<const uint8_t> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const uint8_t*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

/// Plain weights, one tensor in memory at a time.
std::vector<TensorToWrite> plain_tensors(const PackedModel& model, bool half, at::Tensor& buffer) {
  std::vector<TensorToWrite> tensors;
  const auto add = [&](const std::string& name, const ModelTensor& tensor) {
    if (!PackedModel::has_values(tensor)) {
      tensors.push_back(
          {name, tensor.dtype, tensor.shape, tensor.bytes.size(), [&tensor] { return tensor.bytes; }});
      return;
    }
    const auto values = [&model, &tensor] {
      at::Tensor unpacked = at::empty({tensor.numel}, at::kFloat);
      model.unpack(tensor, unpacked.mutable_data_ptr<float>());
      return unpacked;
    };
    // What fp16 would turn into infinity (a variance, say) stays fp32.
    const bool as_half = half && at::isfinite(values().to(at::kHalf)).all().item<bool>();
    tensors.push_back({name, as_half ? "F16" : "F32", tensor.shape,
                       static_cast<uint64_t>(tensor.numel) * (as_half ? 2 : 4), [=, &buffer] {
                         buffer = as_half ? values().to(at::kHalf) : values();
                         return bytes_of(buffer);
                       }});
  };
  for (const ModelTensor& tensor : model.tensors()) add(tensor.name, tensor);
  for (const auto& [alias, name] : model.aliases()) add(alias, *model.find(name));
  std::ranges::stable_sort(tensors, std::greater{}, [](const auto& t) { return bytes_of_dtype(t.dtype); });
  return tensors;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text.empty() ? "one" : text;
}

double mb(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

int export_command(const ExportOptions& options) {
  const auto format = kExportFormatNames[index_of(options.format, kExportFormatNames, "--format")].second;
  if (options.compress && format != ExportFormat::packed)
    throw std::invalid_argument("--compress: is for --format packed; leave it out for " + options.format);
  const fs::path source = find_model(options.folder, options.run), target = fs::absolute(options.out);
  if (!fs::is_directory(target.parent_path()))
    throw std::invalid_argument(options.out + ": its folder is not there; make it, or give another --out");
  const PackedModel model = PackedModel::read(source);
  if (format == ExportFormat::packed) {
    const PackedModelWriter bits = repacked(model, Coding::bits), coded = repacked(model, Coding::zstd);
    write_model(target, options.compress ? coded : bits);
    std::printf("packed %.4f MB, compressed %.4f MB\n", mb(bits.file_bytes()), mb(coded.file_bytes()));
  } else {
    at::Tensor buffer;
    const auto tensors = plain_tensors(model, format == ExportFormat::fp16, buffer);
    const Metadata metadata{{"format", "pt"}, {"exported_from", source.string()}};
    replace_file(target, [&](const fs::path& temporary) { write_safetensors(temporary, metadata, tensors); });
    std::printf("%s %.4f MB\n", options.format.c_str(), mb(static_cast<int64_t>(fs::file_size(target))));
  }
  std::printf("model  %s\n", options.out.c_str());
  return 0;
}

int inspect_command(const std::string& file) {
  const PackedModel model = PackedModel::read(file);
  int64_t packed_bytes = 0, kept_bytes = 0;
  std::vector<TensorBits> all;
  std::printf("%-44s %-18s %10s %6s %4s %4s %12s\n", "tensor", "shape", "weights", "bits", "min", "max",
              "bytes");
  for (const ModelTensor& tensor : model.tensors()) {
    const auto bytes = static_cast<int64_t>(tensor.bytes.size());
    (tensor.packed ? packed_bytes : kept_bytes) += bytes;
    std::printf("%-44s %-18s %10lld ", tensor.name.c_str(), shape_text(tensor.shape).c_str(),
                static_cast<long long>(tensor.numel));
    if (tensor.packed) {
      const TensorBits bits = bits_of(model, tensor);
      const auto [least, most] = std::ranges::minmax(bits.bits);
      std::printf("%6.3f %4d %4d", mean_bits({bits}), least, most);
      all.push_back(bits);
    } else {
      std::printf("%6s %4s %4s", tensor.dtype.c_str(), "", "");
    }
    std::printf(" %12lld\n", static_cast<long long>(bytes));
  }
  for (const auto& [alias, name] : model.aliases()) std::printf("%-44s is %s\n", alias.c_str(), name.c_str());
  if (!model.is_packed()) {
    std::printf("\nA safetensors file that is not of diffq; %.4f MB, of which the header %lld bytes\n",
                mb(model.file_bytes()), static_cast<long long>(model.header_bytes()));
    return 0;
  }
  const auto config = nlohmann::json::parse(model.config());
  const auto part = [&](const char* key) { return config.value(key, nlohmann::json()).dump(); };
  std::printf("\nrun    %s, seed %s\nmethod %s\nmodel  %s\ndata   %s\n", part("run_id").c_str(),
              part("seed").c_str(), part("method").c_str(), part("model").c_str(), part("data").c_str());
  char mean[32] = "nothing";
  if (!all.empty()) std::snprintf(mean, sizeof mean, "mean %.3f bits", mean_bits(all));
  std::printf(
      "size   %.4f MB: quantised %lld bytes, %s; kept tensors and buffers %lld bytes; header %lld bytes\n",
      mb(model.file_bytes()), static_cast<long long>(packed_bytes), mean, static_cast<long long>(kept_bytes),
      static_cast<long long>(model.header_bytes()));
  const int64_t bits = repacked(model, Coding::bits).file_bytes(),
                coded = repacked(model, Coding::zstd).file_bytes();
  std::printf("       %.4f MB bit-packed, %.4f MB with its levels entropy coded; this file is %s\n", mb(bits),
              mb(coded), model.coding() == Coding::bits ? "bit-packed" : "entropy coded");
  return 0;
}

int eval_command(const EvalOptions& options) {
  const std::string &file = options.file, &data = options.data;
  const PackedModel model = PackedModel::read(file);
  if (!model.is_packed())
    throw std::invalid_argument(file + ": is not a packed model of diffq, so that its network is not known");
  RunSpec spec = read_model_config(model.config(), file);
  if (const auto word = data.empty() ? std::nullopt : std::optional(index_of(data, kDataNames, "--data"));
      word && kDataNames[*word].second != spec.data.name) {
    spec.data.name = kDataNames[*word].second;
    spec.data.valid_samples = 1;  // nothing is trained on them: as few as there may be are held out
    spec.data.train_samples = spec.data.test_samples = 0;
  }
  check_benchmark(spec.data.name, spec.model.name, {file, ""});
  if (!options.root.empty()) spec.data.root = options.root;
  const at::Device device = choose_device(options.device);
  at::set_num_threads(compute_threads(1));
  const DataSplits splits = open_data(spec.data);
  const std::unique_ptr<Task> task = make_task(spec, splits.shape);
  try {
    load_module(model, task->module());
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(file + ": " + error.what());
  }
  prepare_device(device);
  if (!device.is_cpu()) task->module().to(device);
  SoloCommunicator alone;
  const TestResult test = evaluate_test(*task, *splits.test, spec.eval, spec.data.workers, alone);
  std::printf("model  %s on %s\ndata   %s in %s, %.0f samples\nloss   %.9g\n",
              word_of(spec.model.name, kModelNames).c_str(), device.str().c_str(),
              word_of(spec.data.name, kDataNames).c_str(), spec.data.root.c_str(),
              static_cast<double>(splits.test->size()), test.loss);
  std::printf("%s = %#.9g\n", task->metric_name().c_str(), test.metric);
  return 0;
}

}  // namespace diffq
