#include "trainer/weights_file.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/fake_quantizer.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

struct Model {
  explicit Model(uint64_t seed, int64_t width = 4) {
    torch::manual_seed(seed);
    module = torch::nn::Sequential(torch::nn::Linear(3, width), torch::nn::BatchNorm1d(width));
    module->named_buffers()["1.running_var"].fill_(static_cast<float>(seed));
    store.emplace(*module, quantizer);
  }
  torch::nn::Sequential module;
  FakeQuantizer quantizer;
  std::optional<ParameterStore> store;
};

std::string error_of(const std::filesystem::path& path, ParameterStore& store) {
  try {
    load_weights(path, store);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

class WeightsFile : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "model.safetensors";
};

TEST_F(WeightsFile, BringsBackMasterAndBuffers) {
  Model saved(2), loaded(3);
  save_weights(path_, *saved.store);
  load_weights(path_, *loaded.store);
  EXPECT_TRUE(at::equal(loaded.store->master(), saved.store->master()));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(at::equal(loaded.store->buffers()[i].tensor, saved.store->buffers()[i].tensor));
  }
  EXPECT_EQ(loaded.module->named_buffers()["1.running_var"][0].item<float>(), 2);
}

TEST_F(WeightsFile, IsRefusedWhenItDoesNotFit) {
  Model model(2), wider(2, 5);
  EXPECT_NE(error_of(path_, *model.store).find("can't be opened"), std::string::npos);
  save_weights(path_, *model.store);
  const std::string shape = error_of(path_, *wider.store);
  EXPECT_NE(shape.find(path_.string()), std::string::npos) << shape;
  EXPECT_NE(shape.find("[4]; this model has F32 [5]"), std::string::npos) << shape;

  torch::nn::Sequential deeper(torch::nn::Linear(3, 4), torch::nn::BatchNorm1d(4), torch::nn::Linear(4, 2));
  FakeQuantizer quantizer;
  ParameterStore store(*deeper, quantizer);
  const std::string missing = error_of(path_, store);
  EXPECT_NE(missing.find("2.bias: missing"), std::string::npos) << missing;
}

TEST_F(WeightsFile, IsRefusedAtEveryLengthWhenTruncated) {
  Model model(2);
  save_weights(path_, *model.store);
  for (auto size = std::filesystem::file_size(path_); size-- > 0;) {
    std::filesystem::resize_file(path_, size);
    const std::string error = error_of(path_, *model.store);
    ASSERT_NE(error.find(path_.string()), std::string::npos) << size << ": " << error;
  }
}

TEST_F(WeightsFile, DamagedHeadersAreErrorsThatNameTheFile) {
  Model model(2);
  const std::string tensors[] = {
      "[]",
      "{\"1.bias\": 3}",
      "{\"1.bias\": {}}",
      "{\"1.bias\": {\"dtype\": \"F32\", \"shape\": [4]}}",
      "{\"1.bias\": {\"dtype\": \"F16\", \"shape\": [4], \"data_offsets\": [0, 8]}}",
      "{\"1.bias\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [-4, 12]}}",
      "{\"1.bias\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": \"0\"}}",
      "{\"1.bias\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 12]}}",
      "{\"1.bias\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [18446744073709551600, 16]}}",
  };
  for (const std::string& header : tensors) {
    const uint64_t length = header.size();
    std::ofstream file(path_, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), 8);
    file << header << std::string(64, 'x');
    file.close();
    const std::string error = error_of(path_, *model.store);
    EXPECT_NE(error.find(path_.string()), std::string::npos) << header << ": " << error;
  }
}

TEST_F(WeightsFile, IsReadByThePythonPackage) {
  Model model(2);
  model.store->master().fill_(0.5);
  save_weights(path_, *model.store);
  const std::string script =
      "from safetensors.numpy import load_file\n"
      "tensors = load_file('" +
      path_.string() +
      "')\n"
      "found = {name: (list(t.shape), str(t.dtype), float(t.sum())) for name, t in tensors.items()}\n"
      "expected = {'0.weight': ([4, 3], 'float32', 6.0), '0.bias': ([4], 'float32', 2.0),\n"
      "            '1.weight': ([4], 'float32', 2.0), '1.bias': ([4], 'float32', 2.0),\n"
      "            '1.running_mean': ([4], 'float32', 0.0), '1.running_var': ([4], 'float32', 8.0)}\n"
      "assert found == expected, found\n";
  std::ofstream(folder_.path() / "read.py") << script;
  const std::string command = DIFFQ_SOURCE_DIR "/.venv/bin/python " + (folder_.path() / "read.py").string();
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace diffq
