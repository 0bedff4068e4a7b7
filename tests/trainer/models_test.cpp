// The models against what is published: names, shapes, and outputs for weights filled by a rule.
#include "trainer/models/models.h"

#include <gtest/gtest.h>
#include <hdf5.h>
#include <torch/torch.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

const std::string kFixtures = DIFFQ_SOURCE_DIR "/tests/fixtures/";

template <class Named>
nlohmann::json names_and_shapes(const Named& tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& item : tensors) list.push_back({item.key(), item.value().sizes().vec()});
  return list;
}

double read_attribute(const std::string& path, const char* name) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  double value = NAN;
  EXPECT_GE(H5Aread(attribute, H5T_NATIVE_DOUBLE, &value), 0);
  H5Aclose(attribute);
  H5Fclose(file);
  return value;
}

// A whole dataset as double.
at::Tensor read_dataset(const std::string& path, const char* name) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(dataset);
  hsize_t dims[8] = {};
  const int rank = H5Sget_simple_extent_dims(space, dims, nullptr);
  at::Tensor values = at::empty(std::vector<int64_t>(dims, dims + std::max(rank, 0)), at::kDouble);
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.mutable_data_ptr()), 0);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(file);
  return values;
}

// Entry i of the k-th parameter: a sin(K i + 1.3 k), offset by 1 for the weights of norms.
void fill(torch::nn::Module& module, double step) {
  torch::NoGradGuard no_grad;
  int64_t k = 0;
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& p = item.value();
    const at::Tensor wave =
        (at::arange(p.numel(), at::kDouble) * step + 1.3 * double(k++)).sin().view(p.sizes());
    const bool scale = p.dim() == 1 && item.key().ends_with("weight");
    const double amplitude = p.dim() >= 2 ? std::sqrt(2.0 / double(p[0].numel())) : 0.1;
    p.copy_(wave * amplitude + (scale ? 1.0 : 0.0));
  }
}

void expect_published_names_and_shapes(const std::string& name, const ImageModel& model, int64_t count) {
  const auto published = nlohmann::json::parse(std::ifstream(kFixtures + "models.json")).at(name);
  EXPECT_EQ(names_and_shapes(model.named_parameters()), published.at("named_parameters"));
  EXPECT_EQ(names_and_shapes(model.named_buffers()), published.at("named_buffers"));
  int64_t parameters = 0;
  for (const auto& parameter : model.parameters()) parameters += parameter.numel();
  EXPECT_EQ(parameters, count);
  EXPECT_EQ(parameters, published.at("parameters"));
}

void expect_published_output(const std::string& name, ImageModel& model) {
  const std::string path = kFixtures + "models.h5";
  fill(model, read_attribute(path, "fill_k"));
  model.eval();
  const at::Tensor shape = read_dataset(path, (name + "/input_shape").c_str()).to(at::kLong);
  const std::vector<int64_t> sizes(shape.const_data_ptr<int64_t>(),
                                   shape.const_data_ptr<int64_t>() + shape.numel());
  const at::Tensor input = (at::arange(c10::multiply_integers(sizes), at::kDouble).pow(1.1) * 0.017)
                               .sin()
                               .to(at::kFloat)
                               .view(sizes);
  torch::NoGradGuard no_grad;
  const at::Tensor expected = read_dataset(path, (name + "/output").c_str());
  const at::Tensor output = model.forward(input).to(at::kDouble);
  ASSERT_EQ(output.sizes(), expected.sizes());
  EXPECT_LE((output - expected).abs().max().item<double>(), 1e-4 * expected.abs().max().item<double>());
}

TEST(Models, ResNet20HasThePublishedNamesAndShapes) {
  expect_published_names_and_shapes("resnet20", *make_resnet20({3, 32, 32, 10}), 269722);
}

TEST(Models, ResNet20GivesThePublishedOutput) {
  expect_published_output("resnet20", *make_resnet20({3, 32, 32, 10}));
}

TEST(Models, ResNet18HasThePublishedNamesAndShapes) {
  expect_published_names_and_shapes("resnet18_cifar", *make_resnet18({3, 32, 32, 10}), 11173962);
}

TEST(Models, ResNet18GivesThePublishedOutput) {
  expect_published_output("resnet18_cifar", *make_resnet18({3, 32, 32, 10}));
}

// torch's own: uniform in ±1/√fan_in, where ResNet-20 has normal weights of variance 2/fan_in.
TEST(Models, InitialWeightsOfTheResNets) {
  torch::manual_seed(1);
  const auto extreme = [](ImageModel& model, const std::string& name) {
    const at::Tensor weight = model.named_parameters()[name];
    return weight.abs().max().item<double>() * std::sqrt(double(weight[0].numel()));
  };
  for (const std::string name : {"layer4.1.conv2.weight", "layer3.0.shortcut.0.weight", "linear.weight"}) {
    const double largest = extreme(*make_resnet18({3, 32, 32, 10}), name);
    EXPECT_GT(largest, 0.99) << name;
    EXPECT_LE(largest, 1 + 1e-6) << name;
  }
  EXPECT_GT(extreme(*make_resnet20({3, 32, 32, 10}), "layer3.2.conv2.weight"), 4);
}

// A picture of another size and number of channels and classes: all stages halve it, what is left is
// averaged.
TEST(Models, ResNetsTakeOtherPictures) {
  for (const ModelName name : {ModelName::resnet20, ModelName::resnet18}) {
    const auto model = make_image_model({.name = name}, {1, 20, 28, 7});
    EXPECT_EQ(model->forward(at::randn({2, 1, 20, 28})).sizes(), at::IntArrayRef({2, 7}));
  }
}

TEST(Models, SmallCnnTakesAnySizeFrom8) {
  for (const int64_t size : {8, 9, 11, 28}) {
    for (const bool batchnorm : {false, true}) {
      const auto model = make_image_model({ModelName::small_cnn, batchnorm}, {2, size, size + 1, 7});
      EXPECT_EQ(model->forward(at::randn({3, 2, size, size + 1})).sizes(), at::IntArrayRef({3, 7}));
      EXPECT_EQ(model->named_buffers().size(), batchnorm ? 6u : 0u);
    }
  }
  EXPECT_THROW(make_image_model({}, {1, 7, 8, 10}), std::invalid_argument);
}

TEST(Models, InitialWeightsDependOnSeedAndModelAlone) {
  const auto first = make_task({}, kSmallShape, 5), again = make_task({}, kSmallShape, 5),
             other = make_task({}, kSmallShape, 6);
  EXPECT_TRUE(same_bits(first->module().parameters(), again->module().parameters()));
  EXPECT_FALSE(same_bits(first->module().parameters(), other->module().parameters()));
}

}  // namespace
}  // namespace diffq
