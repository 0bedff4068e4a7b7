#include "launcher/host_watch.h"

#include <algorithm>

namespace diffq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSignTag = 1, kLostTag = 2;
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr int kSignsInDeadline = 8;

}  // namespace

HostWatch::HostWatch(MPI_Comm communicator, std::vector<RankPlace> places, std::vector<int> peers,
                     std::chrono::seconds deadline, Alarm alarm)
    : places_(std::move(places)), deadline_(deadline), alarm_(std::move(alarm)) {
  check_mpi(MPI_Comm_dup(communicator, &communicator_), "MPI_Comm_dup");
  MPI_Comm_rank(communicator_, &rank_);
  MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
  for (const int rank : peers) peers_.emplace_back().rank = rank;
  thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

HostWatch::~HostWatch() {
  thread_.request_stop();
  thread_.join();
  for (Peer& peer : peers_) {
    if (peer.sending != MPI_REQUEST_NULL) MPI_Request_free(&peer.sending);
  }
}

void HostWatch::watch(const std::stop_token& stop) {
  auto last = Clock::now(), sent = last - deadline_;
  while (!stop.stop_requested()) {
    const auto now = Clock::now();
    // A process that was itself suspended has heard nothing meanwhile, and must not blame the others.
    const auto elapsed = std::min<std::chrono::duration<double>>(now - last, 5 * kPause);
    last = now;
    const bool send = now - sent > deadline_ / double(kSignsInDeadline);
    if (send) sent = now;
    std::string what;
    try {
      what = turn(elapsed, send);
    } catch (const std::exception& error) {
      what = error.what();
    }
    if (!what.empty()) {
      tell_others(what);
      alarm_(what);
      return;
    }
    std::this_thread::sleep_for(kPause);
  }
}

std::string HostWatch::turn(std::chrono::duration<double> elapsed, bool send) {
  for (Peer& peer : peers_) {
    peer.silence += elapsed;
    if (send) send_sign(peer);
  }
  for (int arrived = 1; arrived != 0;) {
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, communicator_, &arrived, &status), "MPI_Iprobe");
    if (arrived == 0) break;
    int length = 0;
    MPI_Get_count(&status, MPI_CHAR, &length);
    std::string text(static_cast<size_t>(length), '\0');
    check_mpi(MPI_Recv(text.data(), length, MPI_CHAR, status.MPI_SOURCE, status.MPI_TAG, communicator_,
                       MPI_STATUS_IGNORE),
              "MPI_Recv");
    if (status.MPI_TAG == kLostTag) return text;
    const auto peer = std::ranges::find(peers_, status.MPI_SOURCE, &Peer::rank);
    if (peer != peers_.end()) peer->silence = peer->silence.zero();
  }
  for (const Peer& peer : peers_) {
    if (peer.silence <= deadline_) continue;
    return "host " + places_[static_cast<size_t>(peer.rank)].host + " (rank " + std::to_string(peer.rank) +
           ") has given no sign of life for " + std::to_string(deadline_.count()) + " s";
  }
  return "";
}

void HostWatch::send_sign(Peer& peer) {
  int done = 1;
  if (peer.sending != MPI_REQUEST_NULL)
    check_mpi(MPI_Test(&peer.sending, &done, MPI_STATUS_IGNORE), "MPI_Test");
  if (done == 0) return;  // the last one has not left yet
  check_mpi(MPI_Isend(nullptr, 0, MPI_CHAR, peer.rank, kSignTag, communicator_, &peer.sending), "MPI_Isend");
}

// As well as it goes: some of them may be behind the same cut.
void HostWatch::tell_others(const std::string& what) {
  std::vector<MPI_Request> sending(places_.size(), MPI_REQUEST_NULL);
  for (size_t rank = 0; rank < places_.size(); ++rank) {
    if (static_cast<int>(rank) == rank_) continue;
    MPI_Isend(what.data(), static_cast<int>(what.size()), MPI_CHAR, static_cast<int>(rank), kLostTag,
              communicator_, &sending[rank]);
  }
  for (int turns = 0; turns < 10; ++turns) {
    for (MPI_Request& request : sending) {
      int done = 0;
      if (request != MPI_REQUEST_NULL) MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
    std::this_thread::sleep_for(kPause);
  }
}

std::vector<int> ranks_to_watch(const std::vector<RankPlace>& places, int rank, int ranks_per_group) {
  std::vector<int> peers;
  const auto elsewhere = [&](int other) {
    return places[static_cast<size_t>(other)].node != places[static_cast<size_t>(rank)].node;
  };
  const bool root = rank % ranks_per_group == 0;
  for (int other = 0; other < static_cast<int>(places.size()); ++other) {
    const bool same_group = other / ranks_per_group == rank / ranks_per_group;
    const bool queue = root && other % ranks_per_group == 0 && (rank == 0 || other == 0);
    if (elsewhere(other) && (same_group || queue)) peers.push_back(other);
  }
  return peers;
}

}  // namespace diffq
