#include "tests/support/thread_communicator.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

namespace diffq {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

// Only says that others are gone: not the cause of anything.
struct GroupBroken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a rank brings to a meeting, for the others to read until the meeting after the next.
struct Offer {
  std::string call;
  std::vector<at::Tensor> tensors;
  std::vector<double> values;
  std::string text;
};

class Group {
 public:
  explicit Group(int ranks) : offers_(ranks) {}

  int size() const { return static_cast<int>(offers_.size()); }

  /// Returns when all ranks have come with the same call; then their offers may be read.
  const std::vector<Offer>& meet(int rank, Offer offer) {
    std::unique_lock lock(mutex_);
    offers_[rank] = std::move(offer);
    arrive(lock, rank);
    for (const Offer& other : offers_) {
      if (other.call != offers_[0].call) throw std::logic_error("ranks make different calls: " + calls());
    }
    return offers_;
  }

  /// Returns when all ranks have read what they need.
  void part(int rank) {
    std::unique_lock lock(mutex_);
    arrive(lock, rank);
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    ++left_;
    changed_.notify_all();
  }

 private:
  void arrive(std::unique_lock<std::mutex>& lock, int rank) {
    const int64_t meeting = meetings_;
    if (++arrived_ == size()) {
      arrived_ = 0;
      ++meetings_;
      changed_.notify_all();
      return;
    }
    const bool in_time =
        changed_.wait_for(lock, kPatience, [&] { return meetings_ != meeting || left_ > 0; });
    if (meetings_ != meeting) return;
    throw GroupBroken("rank " + std::to_string(rank) + " waits in " + offers_[rank].call +
                      (in_time ? ", but another rank has left" : " for more than a minute"));
  }

  std::string calls() const {
    std::string text;
    for (const Offer& offer : offers_) text += (text.empty() ? "" : " | ") + offer.call;
    return text;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Offer> offers_;
  int arrived_ = 0, left_ = 0;
  int64_t meetings_ = 0;
};

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
  ~ThreadCommunicator() override { group_->leave(); }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  void start_sum(const at::Tensor& bucket) override {
    if (bucket.scalar_type() != at::kFloat || !bucket.is_contiguous() || bucket.requires_grad()) {
      throw std::logic_error("start_sum: takes contiguous float32 without graph");
    }
    started_.push_back(bucket);
  }

  void wait() override {
    Offer offer{"wait for sums of", std::exchange(started_, {}), {}, {}};
    for (const at::Tensor& bucket : offer.tensors) offer.call += " " + std::to_string(bucket.numel());
    const auto& offers = group_->meet(rank_, std::move(offer));
    std::vector<at::Tensor> sums;
    for (size_t i = 0; i < offers[rank_].tensors.size(); ++i) {
      sums.push_back(offers[0].tensors[i].clone());
      for (int other = 1; other < size(); ++other) sums.back().add_(offers[other].tensors[i]);
    }
    group_->part(rank_);
    for (size_t i = 0; i < sums.size(); ++i) offers[rank_].tensors[i].copy_(sums[i]);
  }

  void broadcast(const at::Tensor& tensor) override {
    const auto& offers =
        group_->meet(rank_, {"broadcast of " + std::to_string(tensor.numel()), {tensor}, {}, {}});
    if (rank_ != 0) tensor.copy_(offers[0].tensors[0]);
    group_->part(rank_);
  }

  void sum(std::span<double> values) override {
    const auto& offers = group_->meet(
        rank_, {"sum of " + std::to_string(values.size()), {}, {values.begin(), values.end()}, {}});
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = 0;
      for (const Offer& other : offers) values[i] += other.values[i];
    }
    group_->part(rank_);
  }

 protected:
  std::string first_failure(const std::string& mine) override {
    std::string first;
    for (const Offer& other : group_->meet(rank_, {"agree", {}, {}, mine})) {
      if (first.empty()) first = other.text;
    }
    group_->part(rank_);
    return first;
  }

 private:
  std::shared_ptr<Group> group_;
  int rank_;
  std::vector<at::Tensor> started_;
};

bool is_consequence(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const GroupBroken&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

void run_as_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  const auto group = std::make_shared<Group>(ranks);
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      ThreadCommunicator communicator(group, rank);
      try {
        body(communicator);
      } catch (...) {
        errors[rank] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::erase(errors, nullptr);
  std::stable_partition(errors.begin(), errors.end(),
                        [](const auto& error) { return !is_consequence(error); });
  if (!errors.empty()) std::rethrow_exception(errors.front());
}

std::unique_ptr<Communicator> single_rank() {
  at::set_num_threads(1);
  return std::make_unique<ThreadCommunicator>(std::make_shared<Group>(1), 0);
}

std::mutex& generator_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace diffq
