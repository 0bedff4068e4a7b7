// Tests of everything that is collective over real MPI. Run as mpirun -n 2 and -n 4; every rank runs every
// test, and any rank's failure fails the program.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "launcher/host_watch.h"
#include "launcher/mpi_communicator.h"
#include "launcher/world.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

constexpr int kSteps = 20;
constexpr BucketLimits kManyBuckets{256, 1024};

// This rank's part of the world, cut into groups of `size` ranks; all ranks are in one.
class Group {
 public:
  explicit Group(int size) {
    int world_rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    number_ = world_rank / size;
    MPI_Comm_split(MPI_COMM_WORLD, number_, world_rank, &mpi_);
    communicator_ = std::make_unique<MpiCommunicator>(mpi_, "host" + std::to_string(number_));
  }
  MpiCommunicator& operator*() { return *communicator_; }
  MpiCommunicator* operator->() { return communicator_.get(); }
  int number() const { return number_; }
  MPI_Comm mpi() const { return mpi_; }

 private:
  int number_ = 0;
  MPI_Comm mpi_ = MPI_COMM_NULL;
  std::unique_ptr<MpiCommunicator> communicator_;
};

int world_size() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

// Group sizes that this world can be cut into.
std::vector<int> group_sizes() {
  std::vector<int> sizes;
  for (const int size : {1, 2, 4}) {
    if (world_size() % size == 0) sizes.push_back(size);
  }
  return sizes;
}

// Whole numbers below 2^20: sums over 16 ranks are exact in float32, in any order.
float entry(int rank, int64_t bucket, int64_t index, int round) {
  return static_cast<float>((rank * 7919 + bucket * 104729 + index * 31 + round * 17) % (1 << 20)) -
         (1 << 19);
}

at::Tensor filled(int rank, int64_t bucket, int64_t numel, int round) {
  at::Tensor tensor = at::empty({numel}, at::kFloat);
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < numel; ++i) data[i] = entry(rank, bucket, i, round);
  return tensor;
}

at::Tensor expected_sum(int ranks, int64_t bucket, int64_t numel, int round) {
  at::Tensor sum = at::zeros({numel}, at::kFloat);
  for (int rank = 0; rank < ranks; ++rank) sum.add_(filled(rank, bucket, numel, round));
  return sum;
}

// All groups of all sizes: they work side by side, each on sums of its own.
class EveryGroup : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Ranks, EveryGroup, testing::Values(1, 2, 4));

TEST_P(EveryGroup, SumsOfManyBucketsAreExact) {
  Group group(GetParam());
  ASSERT_EQ(group->size(), GetParam());
  const std::vector<int64_t> sizes{1, 3, 1000, 65536, 7, 300001, 2, 4096, 50000, 1};
  for (int round = 0; round < 20; ++round) {
    std::vector<at::Tensor> buckets;
    for (size_t b = 0; b < sizes.size(); ++b) {
      buckets.push_back(filled(group->rank(), static_cast<int64_t>(b) + group.number(), sizes[b], round));
      group->start_sum(buckets.back());
    }
    group->wait();
    for (size_t b = 0; b < sizes.size(); ++b) {
      const auto sum = expected_sum(group->size(), static_cast<int64_t>(b) + group.number(), sizes[b], round);
      ASSERT_TRUE(at::equal(buckets[b], sum)) << "bucket " << b << ", round " << round;
    }
  }
}

TEST_P(EveryGroup, SumsOfSlicesLeaveTheirSurroundingsAlone) {
  Group group(GetParam());
  const at::Tensor buffer = filled(group->rank(), 0, 1000, 0), before = buffer.clone();
  group->start_sum(buffer.slice(0, 100, 400));
  group->start_sum(buffer.slice(0, 400, 900));
  group->wait();
  const at::Tensor sum = expected_sum(group->size(), 0, 1000, 0);
  EXPECT_TRUE(at::equal(buffer.slice(0, 100, 900), sum.slice(0, 100, 900)));
  EXPECT_TRUE(at::equal(buffer.slice(0, 0, 100), before.slice(0, 0, 100)));
  EXPECT_TRUE(at::equal(buffer.slice(0, 900, 1000), before.slice(0, 900, 1000)));
}

TEST_P(EveryGroup, WaitingForNothingReturns) {
  Group group(GetParam());
  group->wait();
  group->wait();
}

// What overlap with backward rests on: a large sum (it needs many rounds of messages) is there although
// nobody has called wait(). Without the progress thread the memory stays as it was.
TEST_P(EveryGroup, SumsCompleteWhileTheRankDoesOtherThings) {
  Group group(GetParam());
  const int64_t numel = 1 << 21;
  const at::Tensor bucket = filled(group->rank(), 1, numel, 0),
                   sum = expected_sum(group->size(), 1, numel, 0);
  group->start_sum(bucket);
  bool complete = false;
  for (int turn = 0; turn < 4000 && !complete; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    complete = at::equal(bucket, sum);
  }
  EXPECT_TRUE(complete);
  group->wait();
  EXPECT_TRUE(at::equal(bucket, sum));
}

TEST_P(EveryGroup, BroadcastsEveryTypeAndSize) {
  Group group(GetParam());
  for (const int64_t numel : {int64_t{0}, int64_t{1}, int64_t{1000003}}) {
    for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kByte}) {
      const at::Tensor from_root = at::arange(numel, at::kLong).add_(group.number()).to(type);
      const at::Tensor tensor = group->rank() == 0 ? from_root.clone() : at::zeros({numel}, type);
      group->broadcast(tensor);
      EXPECT_TRUE(at::equal(tensor, from_root)) << numel << " of " << type;
    }
  }
  EXPECT_EQ(group->broadcast(group->rank() == 0 ? 41 + group.number() : -5), 41 + group.number());
}

TEST_P(EveryGroup, SumsDoublesInDouble) {
  Group group(GetParam());
  // 2^40 + rank: would be lost in float32.
  double values[3] = {std::ldexp(1, 40) + group->rank(), 1, -0.5 * group->rank()};
  group->sum(values);
  const double n = group->size();
  EXPECT_EQ(values[0], n * std::ldexp(1, 40) + n * (n - 1) / 2);
  EXPECT_EQ(values[1], n);
  EXPECT_EQ(values[2], -n * (n - 1) / 4);
}

TEST_P(EveryGroup, AgreesOnTheLowestFailingRank) {
  Group group(GetParam());
  const int ranks = group->size();
  group->agree("");
  for (int lowest = 0; lowest < ranks; ++lowest) {
    for (const int other : {lowest, ranks - 1}) {
      const bool fails = group->rank() == lowest || group->rank() == other;
      const std::string mine = "reason " + std::to_string(group->rank()) + std::string(5000, 'x');
      std::string reason;
      try {
        group->agree(fails ? mine : "");
      } catch (const RunFailure& failure) {
        reason = failure.what();
      }
      const std::string origin = "[rank " + std::to_string(lowest) + "/" + std::to_string(ranks) + " host" +
                                 std::to_string(group.number()) + "] ";
      const std::string text = "reason " + std::to_string(lowest) + std::string(5000, 'x');
      if (ranks > 1) {
        EXPECT_EQ(reason, origin + text);
      } else {
        EXPECT_NE(reason.find(text), std::string::npos);
      }
    }
  }
  group->agree("");
}

// Groups that make very different calls at the same time do not disturb each other.
TEST(Groups, WorkSideBySide) {
  for (const int size : group_sizes()) {
    Group group(size);
    std::mt19937 random(100 + static_cast<unsigned>(group.number()));
    for (int call = 0; call < 200; ++call) {
      const int64_t numel = 1 + static_cast<int64_t>(random() % 3000);
      switch (random() % 4) {
        case 0: {
          const at::Tensor one = filled(group->rank(), group.number(), numel, call);
          const at::Tensor two = filled(group->rank(), group.number() + 9, numel, call);
          group->start_sum(one);
          group->start_sum(two);
          group->wait();
          ASSERT_TRUE(at::equal(one, expected_sum(size, group.number(), numel, call)));
          ASSERT_TRUE(at::equal(two, expected_sum(size, group.number() + 9, numel, call)));
          break;
        }
        case 1: {
          const at::Tensor tensor = filled(group->rank(), group.number(), numel, call);
          group->broadcast(tensor);
          ASSERT_TRUE(at::equal(tensor, filled(0, group.number(), numel, call)));
          break;
        }
        case 2: {
          double values[1] = {static_cast<double>(group->rank() + call)};
          group->sum(values);
          ASSERT_EQ(values[0], size * call + size * (size - 1) / 2.0);
          break;
        }
        default:
          group->agree("");
      }
    }
  }
}

// The number of an unsigned sum of all bytes, position included: equal on all ranks if and (all but) only if
// the state is.
double digest(const std::vector<at::Tensor>& tensors) {
  uint64_t hash = 14695981039346656037ull;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor whole = tensor.contiguous();
    const auto* bytes = static_cast<const unsigned char*>(whole.const_data_ptr());
    for (size_t i = 0; i < whole.nbytes(); ++i) hash = (hash ^ bytes[i]) * 1099511628211ull;
  }
  return static_cast<double>(hash >> 12);  // 52 bits: exact in a double
}

// Whether a number is the same on all ranks of the group: one rank's times the ranks is the sum.
std::vector<double> everyones(MpiCommunicator& communicator, double mine) {
  std::vector<double> values(static_cast<size_t>(communicator.size()), 0.0);
  values[static_cast<size_t>(communicator.rank())] = mine;
  communicator.sum(values);
  return values;
}

class EveryMethod : public testing::TestWithParam<Method> {};

INSTANTIATE_TEST_SUITE_P(TrainStep, EveryMethod, testing::Values(Method::fp32, Method::qat, Method::diffq));

TEST_P(EveryMethod, AnyNumberOfRanksGivesTheSameLosses) {
  RunSpec spec = small_spec(GetParam());
  spec.method.rank_noise = RankNoise::shared;
  spec.train.max_grad_norm = 1;
  const DataSplits data = memory_splits();
  std::vector<double> first;
  for (const int size : group_sizes()) {
    Group group(size);
    TrainingRig rig(spec, data, *group, {.limits = kManyBuckets});
    std::vector<double> losses;
    for (int step = 0; step < kSteps; ++step) losses.push_back(rig.step(step).loss);
    if (first.empty()) first = losses;
    for (int step = 0; step < kSteps; ++step) {
      EXPECT_NEAR(losses[step], first[step], 1e-5) << size << " ranks, step " << step;
    }
  }
  EXPECT_LT(first.back(), 0.8 * first.front()) << "something is learnt";
}

TEST_P(EveryMethod, RanksStayTheSameBitForBit) {
  RunSpec spec = small_spec(GetParam());
  spec.model.batchnorm = true;
  spec.method.rank_noise = RankNoise::independent;
  const DataSplits data = memory_splits();
  for (const int size : group_sizes()) {
    Group group(size);
    TrainingRig rig(spec, data, *group, {.limits = kManyBuckets});
    ASSERT_EQ(rig.store.buffers().size(), 4u);
    double previous = digest(rig.state());
    for (int step = 0; step < kSteps; ++step) {
      rig.step(step);
      const double mine = digest(rig.state());
      EXPECT_NE(mine, previous) << "something has changed";
      for (const double other : everyones(*group, mine)) {
        ASSERT_EQ(other, mine) << size << " ranks, step " << step;
      }
      previous = mine;
    }
  }
}

TEST(TrainStep, RanksDrawTheirOwnNoiseUnlessItIsShared) {
  const DataSplits data = memory_splits();
  for (const auto noise : {RankNoise::independent, RankNoise::shared}) {
    RunSpec spec = small_spec(Method::diffq);
    spec.method.rank_noise = noise;
    Group group(2);
    TrainingRig rig(spec, data, *group);
    rig.step(0);
    std::vector<at::Tensor> seen;
    for (const auto& parameter : rig.module().parameters()) seen.push_back(parameter.detach());
    const auto digests = everyones(*group, digest(seen));
    EXPECT_EQ(digests[0] == digests[1], noise == RankNoise::shared);
  }
}

// Throws on the last rank: before backward, or in the middle of it, when some sums have started and others
// have not.
class FailingRank : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(TrainStep, FailingRank, testing::Bool(),
                         [](const auto& info) { return info.param ? "InBackward" : "InForward"; });

TEST_P(FailingRank, TakesItsGroupOutAndTheNextRunWorks) {
  const bool in_backward = GetParam();
  const DataSplits data = memory_splits();
  const RunSpec spec = small_spec(Method::diffq);
  Group group(world_size());
  const int last = world_size() - 1;
  const auto fail_on_last = [&](const at::Tensor& loss, torch::nn::Module& module) -> at::Tensor {
    if (group->rank() != last) return loss;
    if (!in_backward) throw std::runtime_error("sample 17 can't be read");
    const auto fail = [](const at::Tensor&) -> at::Tensor {
      throw std::runtime_error("sample 17 can't be read");
    };
    module.parameters()[2].register_hook(fail);
    return loss;
  };
  for (int round = 0; round < 3; ++round) {
    {
      TrainingRig rig(spec, data, *group,
                      {.task = std::make_shared<AlteredTask>(make_small_task(spec), fail_on_last),
                       .limits = kManyBuckets});
      ASSERT_GT(rig.store.buckets().size(), 3u);
      std::string reason;
      try {
        rig.step(0);
      } catch (const RunFailure& failure) {
        reason = failure.what();
      }
      EXPECT_EQ(reason, "[rank " + std::to_string(last) + "/" + std::to_string(world_size()) +
                            " host0] sample 17 can't be read");
    }
    TrainingRig rig(spec, data, *group, {.limits = kManyBuckets});
    EXPECT_TRUE(std::isfinite(rig.step(0).loss));
  }
}

// --- lost hosts -------------------------------------------------------------------------------------------

std::vector<RankPlace> places_on(std::initializer_list<int> nodes) {
  std::vector<RankPlace> places;
  for (const int node : nodes) places.push_back({node, "host" + std::to_string(node)});
  return places;
}

TEST(HostWatch, WatchesWhomItWaitsFor) {
  using Ranks = std::vector<int>;
  const auto places = places_on({0, 0, 2, 2, 4, 4});
  EXPECT_EQ(ranks_to_watch(places, 0, 2), (Ranks{2, 4})) << "the roots of the other hosts' groups";
  EXPECT_EQ(ranks_to_watch(places, 1, 2), Ranks{}) << "all it waits for is on its host";
  EXPECT_EQ(ranks_to_watch(places, 2, 2), Ranks{0});
  EXPECT_EQ(ranks_to_watch(places, 3, 2), Ranks{});
  EXPECT_EQ(ranks_to_watch(places, 0, 3), (Ranks{2, 3})) << "its group over two hosts, and the other root";
  EXPECT_EQ(ranks_to_watch(places, 1, 3), Ranks{2});
  EXPECT_EQ(ranks_to_watch(places, 5, 3), Ranks{3});
  EXPECT_EQ(ranks_to_watch(places_on({0, 0}), 0, 2), Ranks{});
}

// The last rank stops giving signs of life; rank 0, which watches it, and all that it tells, name its host.
TEST(HostWatch, NamesTheHostThatIsSilent) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const int last = world_size() - 1;
  std::vector<RankPlace> places(static_cast<size_t>(world_size()), {0, "near"});
  places.back() = {last, "far"};
  std::atomic<bool> alarmed = false;
  std::string told;
  {
    std::optional<HostWatch> watch(std::in_place, MPI_COMM_WORLD, places, ranks_to_watch(places, rank, 1),
                                   std::chrono::seconds(2), [&](const std::string& what) {
                                     told = what;
                                     alarmed = true;
                                   });
    std::this_thread::sleep_for(std::chrono::seconds(4));
    EXPECT_FALSE(alarmed) << "while all give signs: " << told;
    if (rank == last) watch.reset();
    const auto began = std::chrono::steady_clock::now();
    while (rank != last && !alarmed && std::chrono::steady_clock::now() - began < std::chrono::seconds(20))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(alarmed, rank != last);
  }
  if (rank != last) {
    EXPECT_EQ(told, "host far (rank " + std::to_string(last) + ") has given no sign of life for 2 s");
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
}  // namespace diffq

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const diffq::World world;
  at::set_num_threads(1);
  if (world.size() % 4 != 0) testing::GTEST_FLAG(filter) += ":-Ranks/EveryGroup.*/2";  // groups of 4
  // One voice is enough, unless another rank alone has something to complain about.
  if (world.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    class Complaints : public testing::EmptyTestEventListener {
      void OnTestPartResult(const testing::TestPartResult& result) override {
        if (result.failed())
          std::fprintf(stderr, "%s:%d: %s\n", result.file_name() ? result.file_name() : "?",
                       result.line_number(), result.message());
      }
    };
    listeners.Append(new Complaints);
  }
  const int failed = RUN_ALL_TESTS();
  world.barrier();
  return failed;
}
