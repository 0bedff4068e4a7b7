#include "launcher/nccl_communicator.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <thread>

namespace diffq {
namespace {

constexpr auto kPollPause = std::chrono::microseconds(50);
constexpr auto kLeaveLimit = std::chrono::seconds(10);

// Rank 0's on all ranks. Ends with a meeting of all: without it a rank may try to join before rank 0's
// listener is up.
NcclId shared_id(NcclApi& api, MpiCommunicator& hosts) {
  NcclId id;
  std::string failure;
  try {
    if (hosts.rank() == 0) id = api.unique_id();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  at::Tensor bytes = at::empty({static_cast<int64_t>(id.bytes.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), id.bytes.data(), id.bytes.size());
  hosts.broadcast(bytes);
  std::memcpy(id.bytes.data(), bytes.const_data_ptr(), id.bytes.size());
  hosts.agree(failure);
  return id;
}

}  // namespace

NcclCommunicator::NcclCommunicator(NcclApi& api, MpiCommunicator& hosts, NcclSettings settings)
    : api_(api), hosts_(hosts), settings_(std::move(settings)) {
  const NcclId id = shared_id(api_, hosts_);
  watch_.emplace(hosts_.mpi(), hosts_.host(), settings_.deadline,
                 CollectiveWatch::Parts{[this] { return poll(); }, [this] { abort(); }, settings_.alarm});
  watch_->started({++sequence_, Collective::Op::start_up, 0, -1});
  try {
    join(id);
  } catch (const std::exception& error) {
    watch_->fail(error.what());
  }
}

void NcclCommunicator::join(const NcclId& id) {
  if (settings_.device.is_cuda()) api_.use_gpu(settings_.device.index());
  stream_ = api_.create_stream();
  summed_ = api_.create_event();
  {
    const std::lock_guard lock(mutex_);
    communicator_ = api_.init_rank(size(), id, rank());
    reached_ = sequence_;
  }
  settle();
  ended_ = sequence_;
}

NcclCommunicator::~NcclCommunicator() {
  try {
    leave();
  } catch (const std::exception&) {
    abort();  // nothing else can be done about a failure here
  }
  watch_.reset();
  for (const Pending& pending : pending_)
    free_events_.insert(free_events_.end(), {pending.reached, pending.ended});
  for (GpuEvent* event : free_events_) api_.destroy_event(event);
  if (summed_ != nullptr) api_.destroy_event(summed_);
  if (stream_ != nullptr) api_.destroy_stream(stream_);
}

// Not an abort: other ranks may still be reading what this one has for them.
void NcclCommunicator::leave() {
  const auto began = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (communicator_ != nullptr) api_.finalize(communicator_);
  while (communicator_ != nullptr && api_.state(communicator_) == NcclState::in_progress) {
    if (std::chrono::steady_clock::now() - began > kLeaveLimit) throw std::runtime_error("ranks don't leave");
    lock.unlock();
    std::this_thread::sleep_for(kPollPause);
    lock.lock();
  }
  if (communicator_ != nullptr) api_.destroy(communicator_);
  communicator_ = nullptr;
}

/// Waits until NCCL has taken in what it was given: until then nothing may rely on the stream's order.
void NcclCommunicator::settle() {
  while (true) {
    if (watch_->tripped()) throw std::runtime_error("the group is lost");
    {
      const std::lock_guard lock(mutex_);
      if (communicator_ == nullptr) throw std::runtime_error("the group is lost");
      if (api_.state(communicator_) == NcclState::done) return;
    }
    std::this_thread::sleep_for(kPollPause);
  }
}

template <class Call>
void NcclCommunicator::start(Collective::Op op, const at::Tensor& tensor, int64_t bucket, const Call& call) {
  const int64_t sequence = ++sequence_;
  watch_->started({sequence, op, static_cast<int64_t>(tensor.nbytes()), bucket});
  try {
    const Pending pending{sequence, take_event(), take_event()};
    api_.record(pending.reached, settings_.compute());
    api_.wait(stream_, pending.reached);
    {
      const std::lock_guard lock(mutex_);
      if (communicator_ == nullptr) throw std::runtime_error("the group is lost");
      call(communicator_);
    }
    settle();
    api_.record(pending.ended, stream_);
    const std::lock_guard lock(mutex_);
    pending_.push_back(pending);
  } catch (const std::exception& error) {
    watch_->fail(error.what());
  }
}

void NcclCommunicator::start_sum(const at::Tensor& bucket) {
  TORCH_CHECK(bucket.is_contiguous() && bucket.scalar_type() == at::kFloat &&
              bucket.device() == settings_.device);
  start(Collective::Op::all_reduce, bucket, bucket_++, [&](NcclComm* communicator) {
    api_.all_reduce_mean(bucket.mutable_data_ptr<float>(), static_cast<size_t>(bucket.numel()), communicator,
                         stream_);
  });
}

void NcclCommunicator::wait() {
  bucket_ = 0;
  try {
    api_.record(summed_, stream_);
    api_.wait(settings_.compute(), summed_);
  } catch (const std::exception& error) {
    watch_->fail(error.what());
  }
}

void NcclCommunicator::broadcast(const at::Tensor& tensor) {
  if (tensor.device() != settings_.device) return hosts_.broadcast(tensor);
  TORCH_CHECK(tensor.is_contiguous());
  start(Collective::Op::broadcast, tensor, -1, [&](NcclComm* communicator) {
    api_.broadcast(tensor.mutable_data_ptr(), tensor.nbytes(), communicator, stream_);
  });
  wait();
}

/// An abort ends the sums that are under way, whole or not, and what waits for them goes on with that.
void NcclCommunicator::check() {
  if (watch_->tripped()) watch_->fail("the group is lost");
}

void NcclCommunicator::sum(std::span<double> values) {
  hosts_.sum(values);
  check();
}

std::string NcclCommunicator::first_failure(const std::string& mine) {
  const std::string failure = hosts_.gather_failure(mine);
  check();
  return failure;
}

GpuEvent* NcclCommunicator::take_event() {
  const std::lock_guard lock(mutex_);
  if (free_events_.empty()) return api_.create_event();
  GpuEvent* event = free_events_.back();
  free_events_.pop_back();
  return event;
}

/// On the watch's thread. Where another thread is held up inside NCCL, what was known last has to do.
CollectiveWatch::Progress NcclCommunicator::poll() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return {reached_, ended_};
  if (settings_.device.is_cuda()) api_.use_gpu(settings_.device.index());
  if (communicator_ != nullptr) api_.state(communicator_);
  for (const Pending& pending : pending_) {
    if (!api_.has_happened(pending.reached)) break;
    reached_ = pending.sequence;
  }
  while (!pending_.empty() && api_.has_happened(pending_.front().ended)) {
    ended_ = pending_.front().sequence;
    free_events_.insert(free_events_.end(), {pending_.front().reached, pending_.front().ended});
    pending_.pop_front();
  }
  return {reached_, ended_};
}

void NcclCommunicator::abort() {
  const std::lock_guard lock(mutex_);
  if (communicator_ != nullptr) api_.abort(communicator_);
  communicator_ = nullptr;
}

}  // namespace diffq
