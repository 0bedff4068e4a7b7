#include "tests/mpi/nccl_stand_in.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <thread>

namespace diffq {

struct GpuStream {
  int number = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  bool busy = false, stopping = false;
  std::thread thread;
};

struct GpuEvent {
  int number = 0;
  std::atomic<int64_t> recorded = 0, happened = 0;
  std::atomic<bool> given_up = false;  ///< its stream ends
};

struct NcclComm {
  std::mutex mutex;
  std::deque<std::function<void()>> effects;  ///< of calls that are still in progress
  int polls_left = 0;
  std::string error;             ///< of the background
  std::atomic<int> working = 0;  ///< collectives on streams, and the start
  std::atomic<int> tag = 1;      ///< of the next exchange
  std::atomic<bool> aborted = false, gone = false, finalized = false;
  std::thread start;
};

namespace {

void pause() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

void push(GpuStream* stream, std::function<void()> task) {
  const std::lock_guard lock(stream->mutex);
  stream->queue.push_back(std::move(task));
  stream->changed.notify_all();
}

void work_off(GpuStream* stream) {
  std::unique_lock lock(stream->mutex);
  while (true) {
    stream->changed.wait(lock, [&] { return stream->stopping || !stream->queue.empty(); });
    if (stream->queue.empty()) return;
    const auto task = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->busy = true;
    lock.unlock();
    task();
    lock.lock();
    stream->busy = false;
    stream->changed.notify_all();
  }
}

}  // namespace

NcclStandIn::NcclStandIn(MPI_Comm group) {
  MPI_Comm_dup(group, &mpi_);
  MPI_Comm_rank(mpi_, &rank_);
  MPI_Comm_size(mpi_, &size_);
}

NcclStandIn::~NcclStandIn() {
  for (const auto& communicator : communicators_) {
    communicator->aborted = true;
    if (communicator->start.joinable()) communicator->start.join();
  }
  if (aborted_ == 0) MPI_Comm_free(&mpi_);
}

void NcclStandIn::note(const std::string& call) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(call);
}

void NcclStandIn::misused(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (misuse_.empty()) misuse_ = what;
}

std::vector<std::string> NcclStandIn::calls() {
  const std::lock_guard lock(mutex_);
  return calls_;
}

std::string NcclStandIn::misuse() {
  const std::lock_guard lock(mutex_);
  return misuse_;
}

void NcclStandIn::maybe_fail(const std::string& call) const {
  if (call == failing_call) throw std::runtime_error(call + ": unhandled system error");
}

void NcclStandIn::use(NcclComm* communicator, const std::string& call) {
  if (communicator->gone) misused(call + " of a communicator that is gone");
}

void NcclStandIn::put(NcclComm* communicator, std::function<void()> effect) {
  std::unique_lock lock(communicator->mutex);
  if (busy_polls == 0) return effect();
  communicator->effects.push_back(std::move(effect));
  communicator->polls_left = busy_polls;
}

NcclState NcclStandIn::state(NcclComm* communicator) {
  use(communicator, "ncclCommGetAsyncError");
  const std::lock_guard lock(communicator->mutex);
  if (lose_peer) throw std::runtime_error("NCCL: remote process exited or there was a network error");
  if (!communicator->error.empty()) throw std::runtime_error("NCCL: " + communicator->error);
  if (communicator->polls_left > 0 && --communicator->polls_left == 0) {
    for (const auto& effect : communicator->effects) effect();
    communicator->effects.clear();
  }
  const bool starting = communicator->tag == 1;
  const bool flushing = communicator->finalized && communicator->working > 0;
  return communicator->polls_left > 0 || starting || flushing ? NcclState::in_progress : NcclState::done;
}

/// All ranks' bytes, in order of rank. False where the communicator is aborted meanwhile.
bool NcclStandIn::exchange(NcclComm* communicator, const void* mine, size_t bytes, int tag,
                           std::vector<std::string>& all) {
  all.assign(static_cast<size_t>(size_), std::string(bytes, '\0'));
  std::memcpy(all[static_cast<size_t>(rank_)].data(), mine, bytes);
  std::vector<MPI_Request> requests;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) continue;
    const int count = static_cast<int>(bytes);
    MPI_Irecv(all[static_cast<size_t>(rank)].data(), count, MPI_BYTE, rank, tag, mpi_,
              &requests.emplace_back());
    MPI_Isend(all[static_cast<size_t>(rank_)].data(), count, MPI_BYTE, rank, tag, mpi_,
              &requests.emplace_back());
  }
  for (int done = 0; done == 0;) {
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    if (done != 0) return true;
    if (communicator->aborted) break;
    pause();
  }
  for (MPI_Request& request : requests) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
  return false;
}

/// Whether all ranks make the same call; it is short, so that its message needs no partner to be sent.
bool NcclStandIn::same_call(NcclComm* communicator, const std::string& call, int tag) {
  std::array<char, 160> mine{};
  call.copy(mine.data(), mine.size() - 1);
  std::vector<std::string> all;
  if (!exchange(communicator, mine.data(), mine.size(), tag, all)) return false;
  for (const std::string& other : all) {
    if (other == all[0]) continue;
    const std::lock_guard lock(communicator->mutex);
    communicator->error =
        std::string("ranks make different calls: ") + all[0].c_str() + " | " + other.c_str();
    return false;
  }
  return true;
}

NcclId NcclStandIn::unique_id() {
  note("ncclGetUniqueId");
  maybe_fail("ncclGetUniqueId");
  NcclId id;
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  for (size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<char>(now >> (i % 8 * 8));
  return id;
}

NcclComm* NcclStandIn::init_rank(int ranks, const NcclId& id, int rank) {
  note("ncclCommInitRankConfig " + std::to_string(rank) + "/" + std::to_string(ranks));
  maybe_fail("ncclCommInitRankConfig");
  communicators_.push_back(std::make_unique<NcclComm>());
  NcclComm* communicator = communicators_.back().get();
  if (ranks != size_ || rank != rank_) misused("a place that is not this rank's");
  ++alive_;
  communicator->start = std::thread([this, communicator, id] {
    if (same_call(communicator, std::string(id.bytes.data(), id.bytes.size()), 0)) ++communicator->tag;
  });
  put(communicator, [] {});
  return communicator;
}

void NcclStandIn::collective(const std::string& function, const std::string& call, void* data, size_t bytes,
                             NcclComm* communicator, GpuStream* stream,
                             const std::function<void(const std::vector<std::string>&)>& take) {
  note(call + ", stream " + std::to_string(stream->number));
  maybe_fail(function);
  use(communicator, call);
  const int tag = communicator->tag.fetch_add(2);
  put(communicator, [=, this] {
    ++communicator->working;
    push(stream, [=, this] {
      std::vector<std::string> all;
      if (same_call(communicator, call, tag) && exchange(communicator, data, bytes, tag + 1, all)) take(all);
      --communicator->working;
    });
  });
}

void NcclStandIn::all_reduce_mean(float* data, size_t count, NcclComm* communicator, GpuStream* stream) {
  collective("ncclAllReduce", "ncclAllReduce " + std::to_string(count) + " floats, mean", data,
             count * sizeof(float), communicator, stream, [=, this](const std::vector<std::string>& all) {
               for (size_t i = 0; i < count; ++i) {
                 float sum = 0;
                 for (const std::string& bytes : all) sum += reinterpret_cast<const float*>(bytes.data())[i];
                 data[i] = sum * (1.0f / static_cast<float>(size_));
               }
             });
}

void NcclStandIn::broadcast(void* data, size_t bytes, NcclComm* communicator, GpuStream* stream) {
  collective("ncclBroadcast", "ncclBroadcast " + std::to_string(bytes) + " bytes from 0", data, bytes,
             communicator, stream,
             [=](const std::vector<std::string>& all) { std::memcpy(data, all[0].data(), bytes); });
}

void NcclStandIn::finalize(NcclComm* communicator) {
  note("ncclCommFinalize");
  use(communicator, "ncclCommFinalize");
  communicator->finalized = true;
  put(communicator, [] {});
}

void NcclStandIn::destroy(NcclComm* communicator) {
  note("ncclCommDestroy");
  use(communicator, "ncclCommDestroy");
  if (!communicator->finalized || communicator->working > 0) misused("ncclCommDestroy before the end");
  communicator->gone = true;
  --alive_;
}

void NcclStandIn::abort(NcclComm* communicator) noexcept {
  note("ncclCommAbort");
  use(communicator, "ncclCommAbort");
  communicator->aborted = communicator->gone = true;
  ++aborted_;
  --alive_;
}

GpuStream* NcclStandIn::create_stream() {
  auto* stream = new GpuStream;
  stream->number = ++streams_;
  stream->thread = std::thread([stream] { work_off(stream); });
  ++alive_;
  note("cudaStreamCreateWithPriority " + std::to_string(stream->number));
  return stream;
}

void NcclStandIn::destroy_stream(GpuStream* stream) noexcept {
  {
    const std::lock_guard lock(stream->mutex);
    stream->stopping = true;
    stream->changed.notify_all();
  }
  stream->thread.join();
  delete stream;
  --alive_;
}

GpuEvent* NcclStandIn::create_event() {
  all_events_.push_back(std::make_unique<GpuEvent>());
  GpuEvent* event = all_events_.back().get();
  event->number = static_cast<int>(all_events_.size());
  ++alive_;
  return event;
}

void NcclStandIn::destroy_event(GpuEvent* event) noexcept {
  event->given_up = true;
  --alive_;
}

void NcclStandIn::record(GpuEvent* event, GpuStream* stream) {
  note("cudaEventRecord " + std::to_string(event->number) + ", stream " + std::to_string(stream->number));
  maybe_fail("cudaEventRecord");
  const int64_t mark = ++event->recorded;
  push(stream, [event, mark] { event->happened = mark; });
}

void NcclStandIn::wait(GpuStream* stream, GpuEvent* event) {
  note("cudaStreamWaitEvent stream " + std::to_string(stream->number) + ", " + std::to_string(event->number));
  const int64_t mark = event->recorded;
  push(stream, [event, mark] {
    while (event->happened < mark && !event->given_up) pause();
  });
}

bool NcclStandIn::has_happened(GpuEvent* event) { return event->happened >= event->recorded; }

void NcclStandIn::launch(GpuStream* stream, std::function<void()> kernel) { push(stream, std::move(kernel)); }

void NcclStandIn::synchronize(GpuStream* stream) {
  std::unique_lock lock(stream->mutex);
  stream->changed.wait(lock, [&] { return stream->queue.empty() && !stream->busy; });
}

}  // namespace diffq
