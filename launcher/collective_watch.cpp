#include "launcher/collective_watch.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <future>
#include <memory>
#include <stdexcept>

#include "launcher/world.h"

namespace diffq {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kSignTag = 1;
constexpr auto kPause = std::chrono::milliseconds(50);
constexpr auto kAnswerLimit = std::chrono::seconds(3);
constexpr auto kAbortLimit = std::chrono::seconds(5);
constexpr size_t kHostLength = 64;

const char* word_of(Collective::Op op) {
  switch (op) {
    case Collective::Op::start_up:
      return "start";
    case Collective::Op::all_reduce:
      return "all-reduce";
    case Collective::Op::broadcast:
      return "broadcast";
    default:
      return "none";
  }
}

std::vector<std::string> names_of_hosts(MPI_Comm group, int size, const std::string& host) {
  std::array<char, kHostLength> mine{};
  std::strncpy(mine.data(), host.c_str(), mine.size() - 1);
  std::vector<std::array<char, kHostLength>> all(static_cast<size_t>(size));
  check_mpi(MPI_Allgather(mine.data(), kHostLength, MPI_CHAR, all.data(), kHostLength, MPI_CHAR, group),
            "MPI_Allgather");
  std::vector<std::string> hosts;
  for (const auto& name : all) hosts.emplace_back(name.data());
  return hosts;
}

}  // namespace

std::string text_of(const Collective& collective) {
  std::string text = "{seq " + std::to_string(collective.sequence) + ", op " + word_of(collective.op) +
                     ", bytes " + std::to_string(collective.bytes);
  if (collective.bucket >= 0) text += ", bucket " + std::to_string(collective.bucket);
  return text + "}";
}

std::vector<int> ranks_behind(const std::vector<std::optional<CollectivePlace>>& places) {
  std::vector<int> silent, least;
  int64_t lowest = INT64_MAX, highest = INT64_MIN;
  for (const auto& place : places) {
    if (!place) continue;
    lowest = std::min(lowest, place->reached);
    highest = std::max(highest, place->reached);
  }
  for (size_t rank = 0; rank < places.size(); ++rank) {
    if (!places[rank]) {
      silent.push_back(static_cast<int>(rank));
    } else if (places[rank]->reached == lowest && lowest < highest) {
      least.push_back(static_cast<int>(rank));
    }
  }
  return silent.empty() ? least : silent;
}

CollectiveWatch::CollectiveWatch(MPI_Comm group, const std::string& host, std::chrono::milliseconds deadline,
                                 Parts parts)
    : deadline_(deadline), parts_(std::move(parts)) {
  check_mpi(MPI_Comm_dup(group, &communicator_), "MPI_Comm_dup");
  MPI_Comm_rank(communicator_, &rank_);
  MPI_Comm_size(communicator_, &size_);
  hosts_ = names_of_hosts(communicator_, size_, host);
  thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

CollectiveWatch::~CollectiveWatch() {
  thread_.request_stop();
  thread_.join();
  if (!tripped_) MPI_Comm_free(&communicator_);
}

void CollectiveWatch::started(const Collective& collective) {
  const std::lock_guard lock(mutex_);
  place_.last = collective;
  started_.push_back({collective, clock_});
}

bool CollectiveWatch::tripped() {
  const std::lock_guard lock(mutex_);
  return tripped_;
}

void CollectiveWatch::fail(const std::string& what) {
  std::unique_lock lock(mutex_);
  if (failure_.empty()) failure_ = what;
  changed_.notify_all();
  changed_.wait(lock, [&] { return raised_; });
  throw std::runtime_error(trouble_.what);
}

void CollectiveWatch::watch(const std::stop_token& stop) {
  auto last = Clock::now();
  while (!stop.stop_requested()) {
    const auto now = Clock::now();
    // A process that was itself suspended must not take that time for a collective's.
    const auto elapsed = std::min<Seconds>(now - last, 5 * kPause);
    last = now;
    try {
      if (const std::optional<Problem> problem = look(elapsed)) return raise(*problem);
    } catch (const std::exception& error) {
      return raise({error.what()});
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPause, [&] { return !failure_.empty(); });
  }
}

std::optional<CollectiveWatch::Problem> CollectiveWatch::look(Seconds elapsed) {
  int told = 0;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kSignTag, communicator_, &told, MPI_STATUS_IGNORE), "MPI_Iprobe");
  if (told != 0) return Problem{};
  {
    const std::lock_guard lock(mutex_);
    clock_ += elapsed;
    if (!failure_.empty()) return Problem{failure_};
    if (started_.empty()) return std::nullopt;
  }
  const Progress progress = parts_.poll();
  const std::lock_guard lock(mutex_);
  place_.reached = progress.reached;
  while (!started_.empty() && started_.front().collective.sequence <= progress.ended) started_.pop_front();
  if (started_.empty() || clock_ - started_.front().at <= deadline_) return std::nullopt;
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%g s", Seconds(deadline_).count());
  return Problem{text_of(started_.front().collective) + " has not ended within " + seconds, true};
}

void CollectiveWatch::raise(const Problem& problem) {
  const std::string& what = problem.what;
  Sign mine;
  mine.late = problem.late;
  {
    const std::lock_guard lock(mutex_);
    tripped_ = true;
    mine.place = place_;
  }
  std::strncpy(mine.what.data(), what.c_str(), mine.what.size() - 1);
  std::fprintf(stderr, "diffq: [rank %d/%d %s] its last collective is %s; its GPU has come to seq %lld%s%s\n",
               rank_, size_, hosts_[static_cast<size_t>(rank_)].c_str(), text_of(mine.place.last).c_str(),
               static_cast<long long>(mine.place.reached), what.empty() ? "" : "; ", what.c_str());
  const std::vector<std::optional<Sign>> signs = ask_around(mine);
  Trouble trouble{verdict(signs), false};
  for (const auto& sign : signs) trouble.starting |= sign && sign->place.last.op <= Collective::Op::start_up;
  {
    const std::lock_guard lock(mutex_);
    trouble_ = trouble;
  }
  abort_within_limit();
  parts_.alarm(trouble);
  const std::lock_guard lock(mutex_);
  raised_ = true;
  changed_.notify_all();
}

// As well as it goes: ranks that are gone or suspended give no answer.
std::vector<std::optional<CollectiveWatch::Sign>> CollectiveWatch::ask_around(const Sign& mine) {
  std::vector<std::optional<Sign>> signs(static_cast<size_t>(size_));
  std::vector<MPI_Request> sending;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) continue;
    MPI_Isend(&mine, sizeof(mine), MPI_BYTE, rank, kSignTag, communicator_,
              &sending.emplace_back(MPI_REQUEST_NULL));
  }
  signs[static_cast<size_t>(rank_)] = mine;
  const auto began = Clock::now();
  for (int sent = 0; Clock::now() - began < kAnswerLimit;) {
    MPI_Testall(static_cast<int>(sending.size()), sending.data(), &sent, MPI_STATUSES_IGNORE);
    int arrived = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kSignTag, communicator_, &arrived, &status);
    if (arrived != 0) {
      Sign sign;
      MPI_Recv(&sign, sizeof(sign), MPI_BYTE, status.MPI_SOURCE, kSignTag, communicator_, MPI_STATUS_IGNORE);
      signs[static_cast<size_t>(status.MPI_SOURCE)] = sign;
      continue;
    }
    if (sent != 0 && std::ranges::all_of(signs, [](const auto& sign) { return sign.has_value(); })) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return signs;
}

std::string CollectiveWatch::verdict(const std::vector<std::optional<Sign>>& signs) const {
  const auto name = [&](size_t rank) {
    return "rank " + std::to_string(rank) + "/" + std::to_string(size_) + " " + hosts_[rank];
  };
  std::string text;
  std::vector<std::optional<CollectivePlace>> places;
  for (size_t rank = 0; rank < signs.size(); ++rank) {
    places.push_back(signs[rank] ? std::optional(signs[rank]->place) : std::nullopt);
    if (text.empty() && signs[rank] && signs[rank]->what[0] != '\0')
      text = "[" + name(rank) + "] " + signs[rank]->what.data();
  }
  const std::vector<int> behind = ranks_behind(places);
  const bool late = std::ranges::any_of(signs, [](const auto& sign) { return sign && sign->late; });
  if (late && behind.empty()) text += "; all ranks have come to it: it is for the network or NCCL";
  for (const int rank : behind) {
    const auto& place = places[static_cast<size_t>(rank)];
    text += "; " + name(static_cast<size_t>(rank)) + " is behind: ";
    text += place ? "its last is " + text_of(place->last) + ", its GPU has come to seq " +
                        std::to_string(place->reached)
                  : "it gives no answer";
  }
  return text;
}

void CollectiveWatch::abort_within_limit() {
  const auto done = std::make_shared<std::promise<void>>();
  std::future<void> future = done->get_future();
  std::thread([this, done] {
    parts_.abort();
    done->set_value();
  }).detach();
  future.wait_for(kAbortLimit);  // an abort that hangs too must not keep the process
}

}  // namespace diffq
