// The models against what is published, every one that $DIFFQ_REFERENCE_DIR (default: tests/fixtures) has:
// names and shapes, sizes in MB, and outputs for weights filled by a rule.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "quant/quantizer.h"
#include "tests/quant/hdf5_reader.h"
#include "trainer/models/demucs.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

/// A published model of ours, and the side of the pictures that its list of parameters is for.
struct Known {
  ModelName name;
  int64_t side = 0;
  DemucsSpec demucs = {};
};

/// For input of these sizes; `outputs`: classes of pictures.
struct Network {
  Network(const Known& known, const std::vector<int64_t>& input, int64_t outputs) {
    const auto take = [&](const auto& model) {
      module = model;
      forward = [model](const at::Tensor& x) { return model->forward(x); };
    };
    if (known.name == ModelName::demucs) {
      take(std::make_shared<Demucs>(known.demucs, 4, input.at(1)));
    } else {
      take(make_image_model({.name = known.name}, {input.at(1), input.at(2), input.at(3), outputs}));
    }
  }
  std::shared_ptr<torch::nn::Module> module;
  std::function<at::Tensor(const at::Tensor&)> forward;
};

const std::map<std::string, Known> kPublished{{"resnet20", {ModelName::resnet20, 32}},
                                              {"resnet18_cifar", {ModelName::resnet18, 32}},
                                              {"mobilenet_cifar", {ModelName::mobilenet, 32}},
                                              {"wide_resnet28_10", {ModelName::wide_resnet28_10, 32}},
                                              {"deit_tiny_patch16_224", {ModelName::deit_tiny, 224}},
                                              {"deit_small_patch16_224", {ModelName::deit_small, 224}},
                                              {"deit_base_patch16_224", {ModelName::deit_base, 224}},
                                              {"efficientnet_b3", {ModelName::efficientnet_b3, 300}},
                                              {"demucs", {ModelName::demucs}},
                                              {"demucs_c4_d3", {ModelName::demucs, 0, {4, 3}}}};

/// What the files of the folder say of one model.
struct Published {
  std::vector<nlohmann::json> lists;           ///< parameters, buffers, sizes
  std::vector<std::filesystem::path> vectors;  ///< files with an input's shape and the output
};

std::map<std::string, Published> read_folder(const std::filesystem::path& folder) {
  std::map<std::string, Published> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto& path = entry.path();
    if (path.extension() == ".json") {
      const auto models = nlohmann::json::parse(std::ifstream(path));
      for (const auto& [name, list] : models.items()) {
        if (list.contains("named_parameters")) found[name].lists.push_back(list);
      }
    } else if (path.extension() == ".h5") {
      const Hdf5File file(path.string());
      for (const std::string& name : file.names("/")) {
        if (file.has("/" + name + "/input_shape")) found[name].vectors.push_back(path);
      }
    }
  }
  return found;
}

template <class Named>
nlohmann::json names_and_shapes(const Named& tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& item : tensors) list.push_back({item.key(), item.value().sizes().vec()});
  return list;
}

/// A quantizer over the parameters of a model, for its sizes alone: all copies share their memory.
std::unique_ptr<Quantizer> bound_quantizer(const MethodSpec& method, const torch::nn::Module& model) {
  auto quantizer = make_quantizer(method, {});
  int64_t largest = 0;
  for (const auto& parameter : model.parameters()) largest = std::max(largest, parameter.numel());
  const at::Tensor scratch = at::empty({largest});
  std::vector<QuantizedTensor> quantized;
  std::vector<KeptTensor> kept;
  for (const auto& item : model.named_parameters()) {
    const at::Tensor master = item.value().detach().flatten();
    const int64_t numel = master.numel();
    if (quantizer->selects(item.key(), numel)) {
      quantized.push_back({item.key(),
                           master,
                           scratch.narrow(0, 0, numel),
                           {},
                           at::empty({quantizer->own_count(numel)}),
                           {}});
    } else {
      kept.push_back({item.key(), master, master});
    }
  }
  quantizer->bind(std::move(quantized), std::move(kept));
  quantizer->initialize_own();
  return quantizer;
}

/// The size that "uniform_4", "lsq_4", "diffq_g8_init8" and "diffq_g8_init8_true" stand for.
double size_mb(const std::string& what, const torch::nn::Module& model) {
  MethodSpec method;
  int bits = 0, group_size = 0;
  if (std::sscanf(what.c_str(), "diffq_g%d_init%d", &group_size, &bits) == 2) {
    method.method = Method::diffq;
    method.group_size = group_size;
    method.init_bits = bits;
    const auto quantizer = bound_quantizer(method, model);
    return what.ends_with("_true") ? quantizer->size_mb() : quantizer->expected_size_mb();
  }
  method.method = what.starts_with("lsq") ? Method::lsq : Method::qat;
  if (std::sscanf(what.c_str(), "%*[a-z]_%d", &method.bits) != 1) throw std::invalid_argument(what);
  return bound_quantizer(method, model)->size_mb();
}

void check_list(const nlohmann::json& list, const torch::nn::Module& model) {
  EXPECT_EQ(names_and_shapes(model.named_parameters()), list.at("named_parameters"));
  EXPECT_EQ(names_and_shapes(model.named_buffers()), list.at("named_buffers"));
  int64_t parameters = 0;
  for (const auto& parameter : model.parameters()) parameters += parameter.numel();
  EXPECT_EQ(parameters, list.at("parameters"));
  double worst = 0;
  for (const auto& [what, published] : list.at("sizes_mb").items()) {
    const double expected = published;
    const double off = std::abs(size_mb(what, model) - expected) / expected;
    EXPECT_LE(off, 1e-6) << what;  // the published implementation adds up in float32
    worst = std::max(worst, off);
  }
  std::cout << "    " << parameters << " parameters; sizes off by " << worst << " at most\n";
}

// Entry i of the k-th parameter: a sin(K i + 1.3 k), offset by 1 for the weights of norms.
void fill(torch::nn::Module& module, double step) {
  int64_t k = 0;
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& p = item.value();
    const at::Tensor wave =
        at::arange(p.numel(), at::kDouble).mul_(step).add_(1.3 * double(k++)).sin_().view(p.sizes());
    const bool scale = p.dim() == 1 && item.key().ends_with("weight");
    const double amplitude = p.dim() >= 2 ? std::sqrt(2.0 / double(p[0].numel())) : 0.1;
    p.copy_(wave * amplitude + (scale ? 1.0 : 0.0));
  }
}

class PublishedModel {
 public:
  PublishedModel(std::string name, const Known& known) : name_(std::move(name)), known_(known) {}

  void check(const nlohmann::json& list) {
    if (known_.name == ModelName::demucs) return check_list(list, *network({1, 2, 0}, 0).module);
    const std::vector<int64_t> last = list.at("named_parameters").back().at(1);
    check_list(list, *network({1, 3, known_.side, known_.side}, last.at(0)).module);
  }

  void check(const Hdf5File& file) {
    const std::string at = "/" + name_ + "/";
    const std::vector<double> given = file.doubles(at + "input_shape");
    const std::vector<int64_t> sizes(given.begin(), given.end());
    const std::vector<double> output = file.doubles(at + "output");
    const at::Tensor expected = torch::tensor(output, at::kDouble).view(file.shape(at + "output"));
    const at::Tensor input = at::arange(c10::multiply_integers(sizes), at::kDouble).pow(1.1) * 0.017;
    const Network& model = network(sizes, expected.size(-1));
    fill(*model.module, file.number("/", "fill_k"));
    model.module->eval();
    const at::Tensor ours = model.forward(input.sin().to(at::kFloat).view(sizes)).to(at::kDouble);
    ASSERT_EQ(ours.sizes(), expected.sizes());
    const double off = (ours - expected).abs().max().item<double>() / expected.abs().max().item<double>();
    EXPECT_LE(off, 1e-4);
    std::cout << "    output off by " << off << " of the largest\n";
  }

 private:
  /// Made again for another shape alone.
  const Network& network(const std::vector<int64_t>& input, int64_t outputs) {
    std::vector<int64_t> shape = input;
    shape[0] = outputs;  // in place of the number of samples
    if (shape != shape_) network_.emplace(known_, input, outputs);
    shape_ = shape;
    return *network_;
  }

  std::string name_;
  Known known_;
  std::vector<int64_t> shape_;
  std::optional<Network> network_;
};

TEST(ModelReference, EveryModelOfTheFolder) {
  const char* chosen = std::getenv("DIFFQ_REFERENCE_DIR");
  const std::filesystem::path folder = chosen && *chosen ? chosen : DIFFQ_SOURCE_DIR "/tests/fixtures";
  torch::NoGradGuard no_grad;
  int checked = 0, skipped = 0;
  for (const auto& [name, published] : read_folder(folder)) {
    const auto known = kPublished.find(name);
    if (known == kPublished.end()) {
      ++skipped;
      std::cout << "[ skipped  ] " << name << ": not yet supported\n";
      continue;
    }
    SCOPED_TRACE(name);
    try {
      PublishedModel model(name, known->second);
      for (const auto& list : published.lists) model.check(list);
      for (const auto& path : published.vectors) model.check(Hdf5File(path.string()));
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    ++checked;
    std::cout << "[ checked  ] " << name << "\n";
  }
  std::cout << checked << " models checked, " << skipped << " skipped, in " << folder << "\n";
  EXPECT_GT(checked, 0) << "no published models in " << folder << "; set DIFFQ_REFERENCE_DIR";
}

}  // namespace
}  // namespace diffq
