#include "trainer/rank_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>

#include "tests/support/fake_quantizer.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

// Of three kinds, one of them longer than the pieces that are hashed at a time.
struct Model : torch::nn::Module {
  Model() {
    weight = register_parameter("weight", torch::linspace(-1, 1, (1 << 20) + 777));
    bias = register_parameter("bias", torch::linspace(2, 3, 5));
    mean = register_buffer("mean", torch::linspace(0, 1, 7).reshape({7, 1}));
  }
  at::Tensor weight, bias, mean;
};

struct Rig {
  Model model;
  FakeQuantizer quantizer{6};  // of the weight alone
  ParameterStore store{model, quantizer};
  RankCheck check{store};
  Rig() { quantizer.initialize_own(); }
  at::Tensor master(const std::string& name) {
    for (const auto& entry : store.entries()) {
      if (entry.name == name) return store.master_of(entry);
    }
    throw std::logic_error(name);
  }
  at::Tensor own() { return store.own_of(store.entries()[1]); }  // in backward order: bias, weight
};

void flip_bit(const at::Tensor& tensor, int64_t entry, int bit) {
  uint32_t bits = 0;
  float* place = tensor.mutable_data_ptr<float>() + entry;
  std::memcpy(&bits, place, sizeof(bits));
  bits ^= 1u << bit;
  std::memcpy(place, &bits, sizeof(bits));
}

TEST(RankCheck, EveryBitCounts) {
  Rig rig;
  const auto before = rig.check.hashes();
  ASSERT_EQ(before.size(), 4u);
  EXPECT_EQ(Rig().check.hashes(), before) << "a function of the content alone";
  const at::Tensor weight = rig.master("weight"), last = rig.model.mean;
  for (int bit = 0; bit < 32; ++bit) {
    for (const int64_t entry :
         {int64_t{0}, int64_t{31 * bit}, (int64_t{1} << 20) + bit, weight.numel() - 1}) {
      flip_bit(weight, entry, bit);
      auto after = rig.check.hashes();
      EXPECT_NE(after[1], before[1]) << "entry " << entry << ", bit " << bit;
      after[1] = before[1];
      EXPECT_EQ(after, before) << "and only this tensor's";
      flip_bit(weight, entry, bit);
    }
  }
  EXPECT_EQ(rig.check.hashes(), before);
  // Entries that change places, also from one piece to the other.
  for (const int64_t other : {int64_t{1}, int64_t{1} << 20}) {
    float* data = weight.mutable_data_ptr<float>();
    std::swap(data[0], data[other]);
    EXPECT_NE(rig.check.hashes()[1], before[1]);
    std::swap(data[0], data[other]);
  }
}

// The reason that all ranks give when `rank` has changed something.
std::string reason(int ranks, const std::vector<int>& changed, const std::function<void(Rig&, int)>& change) {
  std::mutex mutex;
  std::vector<std::string> reasons;
  run_as_ranks(ranks, [&](Communicator& communicator) {
    Rig rig;
    if (std::ranges::find(changed, communicator.rank()) != changed.end()) change(rig, communicator.rank());
    const std::string mine = failure_of([&] { rig.check.compare(rig.check.hashes(), communicator); });
    const std::lock_guard lock(mutex);
    reasons.push_back(mine);
  });
  EXPECT_EQ(reasons, std::vector<std::string>(static_cast<size_t>(ranks), reasons[0])) << "the same on all";
  return reasons[0];
}

TEST(RankCheck, NamesRankAndTensor) {
  const std::string text = "the ranks no longer have the same weights: ";
  const auto weight = [](Rig& rig, int) { flip_bit(rig.master("weight"), 12345, 0); };
  EXPECT_EQ(reason(4, {}, weight), "no failure");
  EXPECT_EQ(reason(4, {2}, weight), text + "rank 2: weight");
  EXPECT_EQ(reason(3, {0}, weight), text + "rank 0: weight") << "most ranks are right";
  EXPECT_EQ(reason(2, {1}, weight), text + "ranks 0 and 1: weight") << "nobody knows which of two is right";
  EXPECT_EQ(reason(4, {1, 3}, [](Rig& rig, int rank) { flip_bit(rig.master("bias"), rank, 3); }),
            text + "ranks 0, 1, 2 and 3: bias")
      << "two and two";
  EXPECT_EQ(reason(5, {1, 3}, [](Rig& rig, int rank) { flip_bit(rig.master("bias"), rank, 3); }),
            text + "ranks 1 and 3: bias");
  EXPECT_EQ(reason(3, {1}, [](Rig& rig, int) { rig.own().add_(1e-6); }),
            text + "rank 1: the bits or scale of weight");
  EXPECT_EQ(reason(3, {2}, [](Rig& rig, int) { flip_bit(rig.model.mean, 6, 31); }), text + "rank 2: mean");
  EXPECT_EQ(reason(3, {2},
                   [](Rig& rig, int) {
                     flip_bit(rig.model.mean, 6, 31);
                     flip_bit(rig.master("bias"), 0, 0);
                   }),
            text + "rank 2: bias and 1 further tensor");
}

// Sums that come out otherwise on one rank, from a step on.
class FaultySums : public Communicator {
 public:
  FaultySums(Communicator& real, int rank, int step)
      : real_(real), faulty_(real.rank() == rank), step_(step) {}
  int rank() const override { return real_.rank(); }
  int size() const override { return real_.size(); }
  void start_sum(const at::Tensor& bucket) override {
    first_ = bucket;
    real_.start_sum(bucket);
  }
  void wait() override {
    real_.wait();
    if (faulty_ && ++waits_ == step_) first_.mutable_data_ptr<float>()[0] += 1e-3f;
  }
  void broadcast(const at::Tensor& tensor) override { real_.broadcast(tensor); }
  void sum(std::span<double> values) override { real_.sum(values); }

 protected:
  std::string first_failure(const std::string& mine) override {
    try {
      real_.agree(mine);
    } catch (const RunFailure& failure) {
      return failure.what();
    }
    return "";
  }

 private:
  Communicator& real_;
  bool faulty_;
  int step_, waits_ = 0;
  at::Tensor first_;
};

TEST(RankCheck, StopsARunWhoseRanksDiffer) {
  const DataSplits data = memory_splits();  // 10 steps an epoch
  for (const int64_t every : {1, 4, 0}) {
    std::mutex mutex;
    std::vector<std::string> reasons;
    std::vector<int64_t> last_steps;
    run_as_ranks(3, [&](Communicator& real) {
      RunSpec spec = small_spec(Method::diffq);
      spec.train.batch_size = 30;
      spec.train.rank_check_steps = every;
      FaultySums communicator(real, 1, 6);
      RunContext context;
      context.run_id = "0123456789ab";
      int64_t last_step = 0;
      context.on_progress = [&](const RunProgress& progress) { last_step = progress.step; };
      const std::string mine = failure_of([&] { train_run(spec, data, communicator, context); });
      const std::lock_guard lock(mutex);
      reasons.push_back(mine);
      if (real.rank() == 0) last_steps.push_back(last_step);
    });
    for (const std::string& mine : reasons) {
      if (every == 0) {
        EXPECT_EQ(mine, "no failure");
      } else {
        EXPECT_EQ(mine.find("the ranks no longer have the same weights: rank 1: "), 0u) << mine;
      }
    }
    EXPECT_EQ(last_steps[0], every == 0 ? 10 : every == 1 ? 6 : 8);
  }
}

}  // namespace
}  // namespace diffq
