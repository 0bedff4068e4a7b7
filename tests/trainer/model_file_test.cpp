#include "trainer/model_file.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>

#include "tests/support/idx_files.h"

namespace diffq {
namespace {

struct TiedLinear : torch::nn::Module {
  explicit TiedLinear(const at::Tensor& shared) { weight = register_parameter("weight", shared); }
  at::Tensor weight;
};

// Convolution, BatchNorm, and two linear layers that share one weight.
struct TiedNet : torch::nn::Module {
  explicit TiedNet(int64_t width = 6) {
    conv = register_module("conv", torch::nn::Conv2d(3, width, 3));
    bn = register_module("bn", torch::nn::BatchNorm2d(width));
    first = register_module("first", torch::nn::Linear(40, 40));
    second = register_module("second", std::make_shared<TiedLinear>(first->weight));
  }
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d bn{nullptr};
  torch::nn::Linear first{nullptr};
  std::shared_ptr<TiedLinear> second;
};

struct Model {
  explicit Model(const MethodSpec& method, bool float16 = false, int64_t seed = 2) {
    torch::manual_seed(static_cast<uint64_t>(seed));
    net = std::make_shared<TiedNet>();
    net->bn->running_mean.uniform_(-1, 1);
    net->bn->running_var.uniform_(0.5, 2);
    net->bn->num_batches_tracked.fill_(seed);
    QuantSpec quant;
    quant.min_size_mb = 1e-4;  // keeps vectors
    quant.float16 = float16;
    quantizer = make_quantizer(method, quant);
    store.emplace(*net, *quantizer);
    quantizer->initialize_own();
    if (method.method == Method::diffq) store->own().normal_(-0.5, 1);  // widths that differ
    quantizer->materialize_rounded();
  }
  std::shared_ptr<TiedNet> net;
  std::unique_ptr<Quantizer> quantizer;
  std::optional<ParameterStore> store;
};

MethodSpec fixed_bits(Method method, int bits) {
  MethodSpec spec;
  spec.method = method;
  spec.bits = bits;
  return spec;
}

MethodSpec diffq_of(int64_t group_size, double min_bits = 2) {
  MethodSpec spec;
  spec.method = Method::diffq;
  spec.group_size = group_size;
  spec.min_bits = min_bits;
  return spec;
}

std::vector<MethodSpec> all_methods() {
  std::vector<MethodSpec> methods{fixed_bits(Method::fp32, 0)};
  for (const int bits : {1, 2, 3, 5, 8, 12, 15}) {
    methods.push_back(fixed_bits(Method::qat, bits));
    methods.push_back(fixed_bits(Method::ptq, bits));
    methods.back().clip = Clip::mse;
    if (bits > 1) methods.push_back(fixed_bits(Method::lsq, bits));
  }
  for (const int64_t group_size : {0, 1, 3, 4, 7, 8, 16, 100, 5000}) {
    methods.push_back(diffq_of(group_size));
    methods.push_back(diffq_of(group_size, 2.6));
    methods.back().parametrisation = Parametrisation::noise;
  }
  return methods;
}

std::string describe(const MethodSpec& method) {
  return "method " + std::to_string(static_cast<int>(method.method)) + ", bits " +
         std::to_string(method.bits) + ", group_size " + std::to_string(method.group_size);
}

void expect_same_state(const torch::nn::Module& expected, const torch::nn::Module& found) {
  for (const auto& item : expected.named_parameters())
    EXPECT_TRUE(at::equal(item.value(), found.named_parameters()[item.key()])) << item.key();
  for (const auto& item : expected.named_buffers())
    EXPECT_TRUE(at::equal(item.value(), found.named_buffers()[item.key()])) << item.key();
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

class ModelFile : public testing::Test {
 protected:
  PackedModel written(const Model& model, Coding coding = Coding::bits) const {
    write_model(path_, pack_model(*model.store, *model.quantizer, coding, R"({"run_id": "abc"})"));
    return PackedModel::read(path_);
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "model.safetensors";
};

TEST_F(ModelFile, RestoresWhatWasEvaluated) {
  for (const MethodSpec& method : all_methods()) {
    for (const Coding coding : {Coding::bits, Coding::zstd}) {
      for (const bool float16 : {false, true}) {
        SCOPED_TRACE(describe(method));
        const Model model(method, float16);
        const PackedModel file = written(model, coding);
        EXPECT_EQ(file.config(), R"({"run_id": "abc"})");
        torch::manual_seed(77);
        TiedNet other;
        load_module(file, other);
        expect_same_state(*model.net, other);
        EXPECT_EQ(other.first->weight.data_ptr(), other.second->weight.data_ptr());
      }
    }
  }
}

TEST_F(ModelFile, IsOfTheReportedSize) {
  for (const MethodSpec& method : all_methods()) {
    for (const bool float16 : {false, true}) {
      SCOPED_TRACE(describe(method));
      const Model model(method, float16);
      const PackedModel file = written(model);
      double tensor_bytes = 0, tensors = 0;
      for (const ModelTensor& tensor : file.tensors()) {
        if (tensor.name.find("running_") != std::string::npos || tensor.name.ends_with("tracked")) continue;
        tensor_bytes += static_cast<double>(tensor.bytes.size());
        ++tensors;
      }
      const double size = model.quantizer->size_mb() * (1 << 20);
      EXPECT_GE(tensor_bytes, size - 1.001 * tensors) << "the table's largest width need not be stored";
      EXPECT_LE(tensor_bytes, 1.005 * size + 64 * tensors);
    }
  }
}

TEST_F(ModelFile, HasTiedWeightsOnce) {
  const Model model(fixed_bits(Method::qat, 4));
  const PackedModel file = written(model);
  EXPECT_EQ(file.aliases(), (std::map<std::string, std::string>{{"second.weight", "first.weight"}}));
  EXPECT_EQ(file.find("second.weight"), file.find("first.weight"));
  int found = 0;
  for (const ModelTensor& tensor : file.tensors()) found += tensor.numel == 1600;
  EXPECT_EQ(found, 1);
}

TEST_F(ModelFile, GivesStartingWeights) {
  const Model finished(fixed_bits(Method::fp32, 0));
  const PackedModel file = written(finished);
  const Model next(fixed_bits(Method::lsq, 3), false, 5);
  load_masters(file, *next.net, *next.store);
  for (const ParameterEntry& entry : next.store->entries()) {
    const at::Tensor expected = finished.net->named_parameters()[entry.name].reshape({-1});
    EXPECT_TRUE(at::equal(next.store->master_of(entry), expected)) << entry.name;
  }
  for (const auto& item : finished.net->named_buffers())
    EXPECT_TRUE(at::equal(item.value(), next.net->named_buffers()[item.key()])) << item.key();
}

TEST_F(ModelFile, OfAnotherModelNamesWhatDiffers) {
  const Model model(fixed_bits(Method::qat, 4));
  const PackedModel file = written(model);
  EXPECT_EQ(differences(file, *model.net), "");
  TiedNet wider(7);
  const std::string shapes = error_of([&] { load_module(file, wider); });
  EXPECT_NE(shapes.find("conv.weight is [6, 3, 3, 3], the model's is [7, 3, 3, 3]; "), std::string::npos)
      << shapes;
  EXPECT_NE(shapes.find("; and "), std::string::npos) << shapes;
  TiedNet deeper;
  deeper.register_module("third", torch::nn::Linear(2, 2));
  EXPECT_EQ(differences(file, deeper), "third.weight is missing; third.bias is missing");
  torch::nn::Sequential smaller(torch::nn::Linear(3, 3));
  EXPECT_NE(differences(file, *smaller).find("0.weight is missing; 0.bias is missing; "), std::string::npos);
}

TEST_F(ModelFile, ReplacesTheOldOneAsAWhole) {
  const Model first(fixed_bits(Method::qat, 4)), second(fixed_bits(Method::qat, 4), false, 9);
  written(first);
  const auto size = std::filesystem::file_size(path_);
  const PackedModel file = written(second);
  TiedNet other;
  load_module(file, other);
  expect_same_state(*second.net, other);
  std::filesystem::resize_file(path_, size - 1);
  EXPECT_NE(error_of([&] { PackedModel::read(path_); }).find(path_.string()), std::string::npos);
  EXPECT_NE(error_of([&] { PackedModel::read(folder_.path() / "none"); }).find("can't be read"),
            std::string::npos);
}

}  // namespace
}  // namespace diffq
