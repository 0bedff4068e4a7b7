#pragma once
// Notices that another host is gone. MPI itself waits forever for a rank behind a cut link, so ranks on
// different hosts send each other signs of life, from a thread: a rank that is slow still gives them. Whoever
// misses them tells all ranks that it can reach, then calls the alarm.

#include <mpi.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "launcher/world.h"

namespace diffq {

class HostWatch {
 public:
  using Alarm = std::function<void(const std::string& what)>;

  /// Watches the ranks `peers` of `communicator`, of which this takes over a duplicate; collective, also
  /// where there are no peers to watch. `places`: where each rank is. `alarm` is called once, on the thread,
  /// with what is missing: "host b (rank 3) has given no sign of life for 120 s".
  HostWatch(MPI_Comm communicator, std::vector<RankPlace> places, std::vector<int> peers,
            std::chrono::seconds deadline, Alarm alarm);
  ~HostWatch();  ///< stops watching; call when no rank waits for another any more
  HostWatch(const HostWatch&) = delete;
  HostWatch& operator=(const HostWatch&) = delete;

 private:
  struct Peer {
    int rank = 0;
    std::chrono::duration<double> silence{0};
    MPI_Request sending = MPI_REQUEST_NULL;
  };
  void watch(const std::stop_token& stop);
  /// One turn: signs sent and received. Returns what is missing, or "".
  std::string turn(std::chrono::duration<double> elapsed, bool send);
  void send_sign(Peer& peer);
  void tell_others(const std::string& what);

  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_ = 0;
  std::vector<RankPlace> places_;
  std::vector<Peer> peers_;
  std::chrono::seconds deadline_;
  Alarm alarm_;
  std::jthread thread_;  ///< last: starts when all else exists
};

/// Whom a rank watches: the ranks of its group on other hosts; a group's root also rank 0, which hands out
/// the runs; and rank 0 all such roots.
std::vector<int> ranks_to_watch(const std::vector<RankPlace>& places, int rank, int ranks_per_group);

}  // namespace diffq
