// Time of a training step on synthetic data (of ResNet-18 in its CIFAR form, unless told otherwise), for
// comparisons in one run with other programs (tests/bench/compare_steps.py starts this one and its peers in
// turn). Prints one JSON object.
//
//   step_bench fp32 diffq --steps 10 --threads 2          one step of each method in turn
//   step_bench fp32 diffq --model transformer_lm --batch 8      4096 tokens a step
//   step_bench fp32 diffq_avx2                             the kernels of an older processor
//   step_bench fp32 fp32_graph --model resnet20 --batch 128 --device cuda        steps recorded (cuda_graph)
//   step_bench fp32 diffq --model deit_base --batch 64 --device cuda --precision bf16
//                                                          on a GPU, ten steps at a time; 77: there is none;
//                                                          --fastest: train.algorithms;
//                                                          --trace FILE: also the last method's, for
//                                                          chrome://tracing, and its longest kernels on
//                                                          stderr
//   mpirun -n 2 step_bench fp32 --alone-too --threads 1   a step of the group of 2, and of two groups of 1,
//   in turn

#include <mpi.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "launcher/mpi_communicator.h"
#include "launcher/world.h"
#include "quant/diffq.h"
#include "tests/support/gpu_trace.h"
#include "trainer/device.h"
#include "trainer/memory.h"
#include "trainer/train_step.h"

namespace {

using namespace diffq;

/// What is trained, and where: --model resnet18 | resnet20 | deit_tiny | deit_base | transformer_lm,
/// --batch N.
struct Load {
  ModelName model = ModelName::resnet18;
  int64_t batch = 16;
  at::Device device = at::kCPU;
  Precision precision = Precision::fp32;

  DataShape shape() const {
    if (model == ModelName::transformer_lm) return TextShape{267'744, 512};
    return model == ModelName::resnet18 || model == ModelName::resnet20 ? ImageShape{3, 32, 32, 10}
                                                                        : ImageShape{3, 224, 224, 1000};
  }
  Batch random_batch() const {
    if (const DataShape of = shape(); const auto* text = std::get_if<TextShape>(&of)) {
      // As words are: one of twice the number is half as frequent.
      const at::Tensor words = at::rand({batch, text->block + 1}, at::kDouble)
                                   .mul(std::log(static_cast<double>(text->vocabulary)))
                                   .exp()
                                   .to(at::kLong)
                                   .clamp(0, text->vocabulary - 1);
      return {words.narrow(1, 0, text->block).contiguous(), words.narrow(1, 1, text->block).contiguous()};
    }
    const auto image = std::get<ImageShape>(shape());
    return {at::randn({batch, image.channels, image.height, image.width}),
            at::randint(image.classes, {batch}, at::kLong)};
  }
};

// One network in training, as train_run builds it.
class Subject {
 public:
  Subject(const std::string& method, const Load& load, Communicator& communicator)
      : spec_(spec_of(method.starts_with("fp32") ? Method::fp32 : Method::diffq, load)) {
    spec_.train.cuda_graph = method.ends_with("_graph");
    task_ = make_task(spec_, load.shape());
    if (!load.device.is_cpu()) task_->module().to(load.device);
    quantizer_ = method == "diffq_avx2" ? std::make_unique<DiffQ>(spec_.method, spec_.quant, CodePath::avx2)
                                        : make_quantizer(spec_.method, spec_.quant, load.device);
    store_ =
        std::make_unique<ParameterStore>(task_->module(), *quantizer_, BucketLimits{}, spec_.train.precision);
    quantizer_->initialize_own();
    buckets_ = std::make_unique<GradientBuckets>(*store_, *quantizer_, communicator);
    step_ = std::make_unique<TrainStep>(spec_, 0, *task_, *store_, *quantizer_, *buckets_, communicator,
                                        load.device.is_cpu() ? nullptr : &cuda_update_kernels(),
                                        load.device.is_cpu() ? nullptr : make_cuda_graph);
    const Batch batch = load.random_batch();
    batch_ = {batch.input.to(load.device), batch.target.to(load.device)};
    steps_at_a_time_ = load.device.is_cpu() ? 1 : 10;
  }

  double step_ms() {
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < steps_at_a_time_; ++k)
      step_->run(steps_++, {0.01, spec_.method.lambda}, [&] { return batch_; });
    step_->settle();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() /
           steps_at_a_time_;
  }

 private:
  static RunSpec spec_of(Method method, const Load& load) {
    RunSpec spec;
    spec.model.name = load.model;
    if (load.model == ModelName::transformer_lm) {
      // The published one at a quarter of its width and depth.
      spec.model.transformer = {.layers = 4, .dim = 256, .ffn = 1024, .heads = 4};
      spec.train.optimizer.name = OptimizerName::nag;
      spec.method.group_size = 16;
    }
    spec.method.method = method;
    spec.method.lambda = 5;
    spec.train.precision = load.precision;
    spec.train.optimizer.weight_decay = load.model == ModelName::transformer_lm ? 0 : 5e-4;
    return spec;
  }

  RunSpec spec_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Quantizer> quantizer_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<GradientBuckets> buckets_;
  std::unique_ptr<TrainStep> step_;
  Batch batch_;
  int64_t steps_ = 0;
  int steps_at_a_time_ = 1;
};

/// Ten steps, and what took the GPU longest in them.
void trace(Subject& subject, const std::string& file) {
  GpuTrace trace;
  subject.step_ms();
  const std::vector<GpuWork> all = trace.end(file);
  std::map<std::string, double> ms;
  double busy = 0;
  for (const GpuWork& work : all) {
    const double took = 1e-6 * static_cast<double>(work.end - work.begin);
    ms[work.name] += took;
    busy += took;
  }
  std::vector<std::pair<double, std::string>> longest;
  for (const auto& [name, took] : ms) longest.emplace_back(took, name);
  std::ranges::sort(longest, std::greater());
  if (longest.size() > 25) longest.resize(25);
  const double whole = all.empty() ? 0 : 1e-6 * static_cast<double>(all.back().end - all.front().begin);
  std::fprintf(stderr, "traced: %.3f ms, of which the GPU worked %.3f\n", whole, busy);
  for (const auto& [took, name] : longest)
    std::fprintf(stderr, "%9.3f  %s\n", took, name.substr(0, 150).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const World world;
  int steps = 10, threads = 2;
  bool alone_too = false;
  Algorithms algorithms = Algorithms::repeatable;
  Load load;
  std::vector<std::string> methods;
  std::string trace_file;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--steps") == 0) {
      steps = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--threads") == 0) {
      threads = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--batch") == 0) {
      load.batch = std::atoll(argv[++i]);
    } else if (std::strcmp(argv[i], "--model") == 0) {
      const std::string name = argv[++i];
      load.model = name == "deit_tiny"        ? ModelName::deit_tiny
                   : name == "deit_base"      ? ModelName::deit_base
                   : name == "transformer_lm" ? ModelName::transformer_lm
                   : name == "resnet20"       ? ModelName::resnet20
                                              : ModelName::resnet18;
    } else if (std::strcmp(argv[i], "--device") == 0) {
      load.device = std::strcmp(argv[++i], "cuda") == 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
    } else if (std::strcmp(argv[i], "--precision") == 0) {
      load.precision = std::strcmp(argv[++i], "bf16") == 0 ? Precision::bf16 : Precision::fp32;
    } else if (std::strcmp(argv[i], "--trace") == 0) {
      trace_file = argv[++i];
    } else if (std::strcmp(argv[i], "--fastest") == 0) {
      algorithms = Algorithms::fastest;
    } else if (std::strcmp(argv[i], "--alone-too") == 0) {
      alone_too = true;
    } else {
      methods.push_back(argv[i]);
    }
  }
  if (!load.device.is_cpu() && !torch::cuda::is_available()) {
    std::fprintf(stderr, "step_bench: no GPU\n");
    return 77;
  }
  prepare_device(load.device, algorithms);
  const OwnStream stream(load.device);
  at::set_num_threads(threads);
  MPI_Comm together = MPI_COMM_NULL, alone = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &together);
  MPI_Comm_dup(MPI_COMM_SELF, &alone);
  MpiCommunicator group(together, world.host()), self(alone, world.host());

  std::vector<std::pair<std::string, std::unique_ptr<Subject>>> subjects;
  for (const std::string& method : methods) {
    subjects.emplace_back(method, std::make_unique<Subject>(method, load, group));
    if (alone_too) subjects.emplace_back(method + "_alone", std::make_unique<Subject>(method, load, self));
  }
  nlohmann::json times;
  for (int step = -2; step < steps; ++step) {  // two to warm up
    for (auto& [name, subject] : subjects) {
      world.barrier();
      const double ms = subject->step_ms();
      if (step >= 0) times[name].push_back(ms);
    }
  }
  if (!trace_file.empty()) trace(*subjects.back().second, trace_file);
  if (world.rank() == 0) {
    std::printf(
        "%s\n",
        nlohmann::json{{"ms", times}, {"peak_memory_mb", peak_memory_mb(load.device)}}.dump().c_str());
  }
}
