#include "datasets/loader.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>

namespace diffq {
namespace {

// Samples whose target is their index; reading does what a test wants of it.
class FakeDataset : public Dataset {
 public:
  std::function<void(int64_t)> while_reading = [](int64_t) {};

  int64_t size() const override { return 1000; }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
    {
      const std::lock_guard lock(mutex_);
      started_ = std::max(started_, samples[0] + 1);
    }
    while_reading(samples[0]);
    const double epoch = augment ? static_cast<double>(augment->epoch) : -1;
    return {at::full({1}, epoch, at::kDouble), at::full({1}, samples[0], at::kLong)};
  }
  /// One more than the largest sample that was begun.
  int64_t started() const {
    const std::lock_guard lock(mutex_);
    return started_;
  }

 private:
  mutable std::mutex mutex_;
  mutable int64_t started_ = 0;
};

std::vector<std::vector<int64_t>> single_batches(int64_t count) {
  std::vector<std::vector<int64_t>> batches;
  for (int64_t i = 0; i < count; ++i) batches.push_back({i});
  return batches;
}

int64_t target(const std::optional<Batch>& batch) {
  return batch.value().target.const_data_ptr<int64_t>()[0];
}

TEST(Loader, ReturnsAllInOrder) {
  for (const int workers : {1, 3}) {
    for (const int prefetch : {1, 2, 8}) {
      FakeDataset data;
      Loader loader(data, single_batches(50), AugmentKey{1, 6}, workers, prefetch);
      EXPECT_EQ(loader.size(), 50);
      for (int64_t i = 0; i < 50; ++i) {
        const auto batch = loader.next();
        EXPECT_EQ(target(batch), i);
        EXPECT_EQ(batch->input.const_data_ptr<double>()[0], 6);
        EXPECT_LE(data.started(), i + 1 + prefetch);
      }
      EXPECT_FALSE(loader.next().has_value());
      EXPECT_FALSE(loader.next().has_value());
    }
  }
}

TEST(Loader, ReordersWhatIsReadyEarly) {
  // Each even batch is ready only after the odd one that follows it.
  std::mutex mutex;
  std::condition_variable changed;
  std::set<int64_t> done;
  FakeDataset data;
  data.while_reading = [&](int64_t sample) {
    std::unique_lock lock(mutex);
    if (sample % 2 == 0) changed.wait(lock, [&] { return done.contains(sample + 1); });
    done.insert(sample);
    changed.notify_all();
  };
  Loader loader(data, single_batches(40), std::nullopt, 3, 4);
  for (int64_t i = 0; i < 40; ++i) {
    const auto batch = loader.next();
    EXPECT_EQ(target(batch), i);
    EXPECT_EQ(batch->input.const_data_ptr<double>()[0], -1);
  }
  EXPECT_FALSE(loader.next().has_value());
}

TEST(Loader, ThrowsWhereTheBatchWouldHaveBeen) {
  for (const int workers : {1, 3}) {
    FakeDataset data;
    data.while_reading = [](int64_t sample) {
      if (sample % 5 == 2) throw std::runtime_error("sample " + std::to_string(sample));
    };
    Loader loader(data, single_batches(10), std::nullopt, workers, 2);
    for (int64_t i = 0; i < 10; ++i) {
      if (i % 5 != 2) {
        EXPECT_EQ(target(loader.next()), i);
        continue;
      }
      try {
        loader.next();
        FAIL() << "no error for batch " << i;
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), "sample " + std::to_string(i));
      }
    }
    EXPECT_FALSE(loader.next().has_value());
  }
}

TEST(Loader, CanBeDestroyedAtAnyTime) {
  for (const int workers : {1, 3}) {
    for (const int64_t taken : {0, 1, 5}) {
      FakeDataset data;
      {
        Loader loader(data, single_batches(1000), std::nullopt, workers, 2);
        for (int64_t i = 0; i < taken; ++i) loader.next();
      }
      EXPECT_LE(data.started(), taken + 2);
    }
  }
}

TEST(Loader, DestructionWaitsForTheBatchInWorkAlone) {
  std::mutex mutex;
  std::condition_variable changed;
  bool begun = false;
  FakeDataset data;
  data.while_reading = [&](int64_t) {
    const std::lock_guard lock(mutex);
    begun = true;
    changed.notify_all();
  };
  {
    Loader loader(data, single_batches(1000), std::nullopt, 1, 1);
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return begun; });
  }
  EXPECT_EQ(data.started(), 1);
}

TEST(Loader, OfNothingIsAtItsEnd) {
  FakeDataset data;
  Loader loader(data, {}, std::nullopt, 2);
  EXPECT_EQ(loader.size(), 0);
  EXPECT_FALSE(loader.next().has_value());
}

TEST(Loader, NeedsAWorkerAndAPlace) {
  FakeDataset data;
  EXPECT_THROW(Loader(data, single_batches(2), std::nullopt, 0), std::invalid_argument);
  EXPECT_THROW(Loader(data, single_batches(2), std::nullopt, 1, 0), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
