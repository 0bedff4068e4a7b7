// diffq run with faults: faulty_sweep SWEEP.json DIR [retry | max_starts N]. The lambda of a DiffQ run names
// the fault (below), its seed modulo the size of the group the one rank that has it. All other runs are
// trained as ever.

#include <fcntl.h>
#include <mpi.h>
#include <torch/torch.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "launcher/run_sweep.h"
#include "trainer/train_run.h"

namespace {

enum Fault {
  kNone = 0,
  kForward = 1,        // a training sample can't be read
  kBackward = 2,       // inside autograd
  kAfterBackward = 3,  // telling of the progress; always rank 0
  kEvaluation = 4,     // a held-out sample can't be read
  kMemory = 5,         // std::bad_alloc
  kEpoch = 6,          // telling of the epoch; always rank 0
  kUnknown = 7,        // what train_run never does: one rank throws and leaves
  kJournal = 8,        // the disk is full when rank 0 next writes the journal
  kNan = 9,            // from its sixth step on the samples are not numbers
  kOneNan = 10,        // only those of its sixth step
  kSlow = 11,          // its sixth step takes seconds longer than the other ranks'
  kCrash = 12,         // touches memory that is not there, in its sixth step
  kKilled = 13,        // is killed there, as by a system that is out of memory
};

Fault fault_of(const diffq::RunSpec& spec) {
  const double lambda = spec.method.lambda;
  const bool known = spec.method.method == diffq::Method::diffq && lambda >= 1 && lambda <= 13;
  return known ? static_cast<Fault>(static_cast<int>(lambda)) : kNone;
}

struct FailingBackward : torch::autograd::Function<FailingBackward> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& input) {
    return input.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list&) {
    throw std::runtime_error("fault inside backward");
  }
};

class FaultyData : public diffq::Dataset {
 public:
  FaultyData(std::shared_ptr<const diffq::Dataset> data, Fault fault)
      : data_(std::move(data)), fault_(fault) {}
  int64_t size() const override { return data_->size(); }
  diffq::Batch batch(std::span<const int64_t> samples,
                     const std::optional<diffq::AugmentKey>& augment) const override {
    if (fault_ == kMemory) throw std::bad_alloc();
    if (fault_ != kBackward) throw std::runtime_error("fault reading sample " + std::to_string(samples[0]));
    diffq::Batch batch = data_->batch(samples, augment);
    torch::AutoGradMode with_grad(true);
    batch.input = FailingBackward::apply(batch.input.requires_grad_(true));
    return batch;
  }

 private:
  std::shared_ptr<const diffq::Dataset> data_;
  Fault fault_;
};

// Behaves until the sixth batch.
class SuddenFault : public diffq::Dataset {
 public:
  SuddenFault(std::shared_ptr<const diffq::Dataset> data, Fault fault)
      : data_(std::move(data)), fault_(fault) {}
  int64_t size() const override { return data_->size(); }
  diffq::Batch batch(std::span<const int64_t> samples,
                     const std::optional<diffq::AugmentKey>& augment) const override {
    diffq::Batch batch = data_->batch(samples, augment);
    const int count = ++batches_;
    if (fault_ == kNan ? count < 6 : count != 6) return batch;
    if (fault_ == kNan || fault_ == kOneNan) batch.input = at::full_like(batch.input, NAN);
    if (fault_ == kSlow) std::this_thread::sleep_for(std::chrono::seconds(4));
    if (fault_ == kCrash) ::raise(SIGSEGV);
    if (fault_ == kKilled) ::raise(SIGKILL);
    return batch;
  }

 private:
  std::shared_ptr<const diffq::Dataset> data_;
  Fault fault_;
  mutable std::atomic<int> batches_ = 0;
};

// From now on every write to the journal finds the disk full.
void fill_the_disk() {
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    if (std::filesystem::read_symlink(file, ignored).filename() != "journal.jsonl") continue;
    const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    ::dup2(full, std::stoi(file.path().filename()));
    ::close(full);
    return;
  }
  throw std::logic_error("journal.jsonl is not open on this rank");
}

diffq::RunRecord train_with_fault(const diffq::RunSpec& spec, const diffq::DataSplits& data,
                                  diffq::Communicator& communicator, const diffq::RunContext& context) {
  const Fault fault = fault_of(spec);
  const int rank = static_cast<int>(spec.seed % static_cast<uint64_t>(communicator.size()));
  diffq::DataSplits given = data;
  diffq::RunContext told = context;
  if (communicator.rank() == rank) {
    if (fault == kForward || fault == kBackward || fault == kMemory)
      given.train = std::make_shared<FaultyData>(data.train, fault);
    if (fault >= kNan) given.train = std::make_shared<SuddenFault>(data.train, fault);
    if (fault == kEvaluation) given.valid = std::make_shared<FaultyData>(data.valid, fault);
    if (fault == kUnknown) throw std::logic_error("fault that nobody has foreseen");
  }
  if (fault == kAfterBackward)
    told.on_progress = [](const diffq::RunProgress&) { throw std::runtime_error("fault after backward"); };
  if (fault == kEpoch)
    told.on_epoch = [](const diffq::EpochRow&) { throw std::runtime_error("fault after the epoch"); };
  if (fault == kJournal && communicator.rank() == 0) fill_the_disk();
  return diffq::train_run(spec, given, communicator, told);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  diffq::RunOptions options;
  options.sweep_file = argv[1];
  options.out = argv[2];
  if (argc > 3) options.retry_failed = std::string(argv[3]) == "retry";
  if (argc > 4) options.max_starts = std::stoi(argv[4]);
  try {
    return diffq::run_sweep(options, train_with_fault);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "diffq: error: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 70);
  }
}
