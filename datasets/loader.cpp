#include "datasets/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "datasets/order.h"

namespace diffq {

// Workers take batch numbers in order, at most `prefetch` ahead of next(), and leave what they read in a ring
// of `prefetch` places; so a place is free before its next batch can be taken.
struct Loader::State {
  struct Place {
    std::optional<Batch> batch;
    std::exception_ptr error;
    bool filled() const { return batch.has_value() || error != nullptr; }
  };

  State(const Dataset& data, std::vector<std::vector<int64_t>> batches, std::optional<AugmentKey> augment,
        int prefetch)
      : data(data), batches(std::move(batches)), augment(augment), ring(prefetch) {}
  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    room.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      room.wait(lock, [&] { return stopping || taken == batches.size() || taken < returned + ring.size(); });
      if (stopping || taken == batches.size()) return;
      const size_t number = taken++;
      lock.unlock();
      Place place;
      try {
        place.batch = data.batch(batches[number], augment);
      } catch (...) {
        place.error = std::current_exception();
      }
      lock.lock();
      ring[number % ring.size()] = std::move(place);
      if (number == returned) ready.notify_one();
    }
  }

  const Dataset& data;
  const std::vector<std::vector<int64_t>> batches;
  const std::optional<AugmentKey> augment;

  std::mutex mutex;  // of what follows
  std::condition_variable room, ready;
  std::vector<Place> ring;
  size_t taken = 0, returned = 0;
  bool stopping = false;
  std::vector<std::thread> workers;
};

Loader::Loader(const Dataset& data, std::vector<std::vector<int64_t>> batches,
               std::optional<AugmentKey> augment, int workers, int prefetch) {
  if (workers < 1 || prefetch < 1) {
    throw std::invalid_argument("Loader: " + std::to_string(workers) + " workers and " +
                                std::to_string(prefetch) + " batches ahead; both must be at least 1");
  }
  // More workers than places would only wait.
  const size_t useful =
      std::min<size_t>({static_cast<size_t>(workers), static_cast<size_t>(prefetch), batches.size()});
  state_ = std::make_unique<State>(data, std::move(batches), augment, prefetch);
  state_->workers.reserve(useful);
  for (size_t i = 0; i < useful; ++i) state_->workers.emplace_back([state = state_.get()] { state->work(); });
}

Loader::~Loader() = default;

int64_t Loader::size() const { return static_cast<int64_t>(state_->batches.size()); }

std::optional<Batch> Loader::next() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (state.returned == state.batches.size()) return std::nullopt;
  State::Place& place = state.ring[state.returned % state.ring.size()];
  state.ready.wait(lock, [&] { return place.filled(); });
  const State::Place taken = std::exchange(place, {});
  ++state.returned;
  lock.unlock();
  state.room.notify_one();
  if (taken.error) std::rethrow_exception(taken.error);
  return taken.batch;
}

std::vector<std::vector<int64_t>> training_batches(int64_t count, int64_t batch_size, int64_t accumulate,
                                                   uint64_t seed, int64_t epoch, int rank, int size,
                                                   int64_t first_step, int64_t repeats) {
  if (batch_size < 1 || accumulate < 1 || size < 1 || batch_size % (size * accumulate) != 0) {
    throw std::invalid_argument("training_batches: a batch of " + std::to_string(batch_size) +
                                " can't be divided among " + std::to_string(size) + " ranks in " +
                                std::to_string(accumulate) + " parts each");
  }
  const std::vector<int64_t> order = repeated_order(count, seed, epoch, repeats, batch_size);
  const int64_t part = batch_size / (size * accumulate);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t step = first_step; step < steps_per_epoch(count, batch_size); ++step) {
    const auto slice = order.begin() + step * batch_size + rank_slice(batch_size, rank, size).begin;
    for (int64_t i = 0; i < accumulate; ++i) batches.emplace_back(slice + i * part, slice + (i + 1) * part);
  }
  return batches;
}

std::vector<std::vector<int64_t>> evaluation_batches(int64_t count, int64_t batch_size, int rank, int size) {
  if (batch_size < 1)
    throw std::invalid_argument("evaluation_batches: batches of " + std::to_string(batch_size));
  const Slice slice = rank_slice(count, rank, size);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t begin = slice.begin; begin < slice.end; begin += batch_size) {
    std::vector<int64_t>& batch = batches.emplace_back(std::min(batch_size, slice.end - begin));
    for (size_t i = 0; i < batch.size(); ++i) batch[i] = begin + static_cast<int64_t>(i);
  }
  return batches;
}

}  // namespace diffq
