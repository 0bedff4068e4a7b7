// Reference vectors: every file and case in $DIFFQ_REFERENCE_DIR (default: tests/fixtures), found when the
// test runs.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>

#include "quant/diffq.h"
#include "quant/lsq.h"
#include "quant/uniform.h"
#include "tests/quant/bound.h"
#include "tests/quant/hdf5_reader.h"
#include "tests/quant/reference_training.h"

namespace diffq {
namespace {

constexpr double kTolerance = 1e-5;

std::vector<CodePath> code_paths() {
  std::vector<CodePath> paths{CodePath::plain};
  for (const CodePath path : {CodePath::avx2, CodePath::avx512}) {
    if (has_code_path(path)) paths.push_back(path);
  }
  return paths;
}

at::Tensor read(const Hdf5File& file, const std::string& dataset) { return tensor_of(file.floats(dataset)); }

void expect_close(const at::Tensor& ours, const Hdf5File& file, const std::string& dataset) {
  EXPECT_LE(relative_difference(ours, read(file, dataset)), kTolerance) << dataset;
}

void expect_ints(const at::Tensor& ours, const Hdf5File& file, const std::string& dataset) {
  const std::vector<int> theirs = file.ints(dataset);
  ASSERT_EQ(ours.numel(), static_cast<int64_t>(theirs.size()));
  const int32_t* values = ours.const_data_ptr<int32_t>();
  EXPECT_EQ(std::vector<int>(values, values + ours.numel()), theirs) << dataset;
}

void expect_size(double ours, const Hdf5File& file, const std::string& dataset, double tolerance) {
  const double theirs = file.doubles(dataset).at(0);
  EXPECT_LE(std::abs(ours - theirs), tolerance * theirs) << dataset << ": " << ours << " and " << theirs;
}

void check_diffq_on(const Hdf5File& file, const std::string& at, CodePath path) {
  MethodSpec method = diffq_method(file, at);
  QuantSpec quant;
  quant.float16 = file.number(at, "float16") != 0;
  const at::Tensor small = read(file, at + "small");
  Bound<DiffQ> bound(std::make_unique<DiffQ>(method, quant, path), {read(file, at + "weight")}, {small});
  QuantizedTensor& tensor = bound.tensors[0];
  DiffQ& quantizer = *bound.quantizer;
  tensor.own.copy_(read(file, at + "logits").flatten());
  quantizer.use_given_noise({read(file, at + "noise").flatten()});

  expect_close(quantizer.real_bits(0), file, at + "bits");
  quantizer.materialize({});
  expect_close(tensor.compute, file, at + "noisy");
  tensor.gradient.copy_(read(file, at + "grad_output").flatten());
  bound.pull_back();
  expect_close(tensor.gradient, file, at + "grad_weight");
  expect_close(tensor.own_gradient, file, at + "grad_logits");
  tensor.own_gradient.zero_();
  quantizer.add_size_gradient(1);
  expect_close(tensor.own_gradient, file, at + "model_size_grad_logits");

  expect_size(quantizer.expected_size_mb(), file, at + "model_size_mb", 2e-7);
  expect_size(quantizer.size_mb(), file, at + "true_model_size_mb", 1e-9);
  EXPECT_EQ(quantizer.bits()[0].bits, file.ints(at + "rounded_bits"));
  expect_ints(quantizer.levels(0), file, at + "levels");
  quantizer.materialize_rounded();
  expect_close(tensor.compute, file, at + "eval_weight");
  const at::Tensor stored = quant.float16 ? small.to(at::kHalf).to(at::kFloat) : small;
  EXPECT_TRUE(bound.kept[0].compute.equal(stored.flatten())) << at << "small";
}

void check_diffq(const Hdf5File& file, const std::string& at) {
  for (const CodePath path : code_paths()) check_diffq_on(file, at, path);
}

void check_uniform(const Hdf5File& file, const std::string& at) {
  MethodSpec method;
  method.bits = static_cast<int>(file.number(at, "bits"));
  for (const Method kind : {Method::qat, Method::ptq}) {
    method.method = kind;
    Bound<Uniform> bound(std::make_unique<Uniform>(method, QuantSpec{}), {read(file, at + "weight")},
                         {read(file, at + "small")});
    QuantizedTensor& tensor = bound.tensors[0];
    bound.quantizer->materialize({});
    if (kind == Method::qat) expect_close(tensor.compute, file, at + "forward");
    tensor.gradient.copy_(read(file, at + "grad_output").flatten());
    bound.pull_back();
    expect_close(tensor.gradient, file, at + "grad_weight");
    expect_ints(bound.quantizer->levels(0), file, at + "levels");
    expect_size(bound.quantizer->size_mb(), file, at + "true_model_size_mb", 1e-9);
    tensor.compute.zero_();
    bound.quantizer->materialize_rounded();
    expect_close(tensor.compute, file, at + "forward");
  }
}

void check_lsq(const Hdf5File& file, const std::string& at) {
  MethodSpec method;
  method.method = Method::lsq;
  method.bits = static_cast<int>(file.number(at, "bits"));
  Bound<Lsq> bound(std::make_unique<Lsq>(method, QuantSpec{}), {read(file, at + "weight")},
                   {read(file, at + "small")});
  QuantizedTensor& tensor = bound.tensors[0];
  expect_close(tensor.own, file, at + "init_scale");
  tensor.own.copy_(read(file, at + "scale").flatten());
  bound.quantizer->materialize({});
  expect_close(tensor.compute, file, at + "forward");
  tensor.gradient.copy_(read(file, at + "grad_output").flatten());
  bound.pull_back();
  expect_close(tensor.gradient, file, at + "grad_weight");
  expect_close(tensor.own_gradient, file, at + "grad_scale");
  expect_ints(bound.quantizer->levels(0), file, at + "levels");
  expect_size(bound.quantizer->size_mb(), file, at + "true_model_size_mb", 1e-9);
}

void check_train(const Hdf5File& file, const std::string& at) {
  for (const CodePath path : code_paths()) check_training(file, at, path);
}

struct Tally {
  int run = 0;
  int skipped = 0;
};

using Check = std::function<void(const Hdf5File&, const std::string& at)>;

void run_cases(const Hdf5File& file, const std::string& where, const std::string& layout, const Check& check,
               Tally& tally) {
  for (const std::string& name : file.names("/" + layout)) {
    const std::string at = "/" + layout + "/" + name + "/";
    SCOPED_TRACE(where + at);
    try {
      check(file, at);
    } catch (const std::exception& error) {
      ADD_FAILURE() << where << at << ": " << error.what();
    }
    ++tally.run;
    std::cout << "[ checked  ] " << where << at << "\n";
  }
}

TEST(Reference, EveryCaseOfEveryFile) {
  const char* chosen = std::getenv("DIFFQ_REFERENCE_DIR");
  const std::filesystem::path folder = chosen && *chosen ? chosen : DIFFQ_SOURCE_DIR "/tests/fixtures";
  const std::map<std::string, Check> checks{
      {"diffq", check_diffq}, {"uniform", check_uniform}, {"lsq", check_lsq}, {"train", check_train}};
  Tally tally;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    const Hdf5File file(path.string());
    for (const std::string& layout : file.names("/")) {
      if (const auto check = checks.find(layout); check != checks.end() && file.is_group("/" + layout)) {
        run_cases(file, path.filename().string() + ":", layout, check->second, tally);
      } else {
        ++tally.skipped;
        std::cout << "[ skipped  ] " << path.filename().string() << ":/" << layout << ": not yet supported\n";
      }
    }
  }
  std::cout << tally.run << " cases checked, " << tally.skipped << " skipped, in " << folder << "\n";
  EXPECT_GT(tally.run, 0) << "no reference vectors in " << folder << "; set DIFFQ_REFERENCE_DIR";
}

}  // namespace
}  // namespace diffq
