#pragma once
// A group of ranks on the communicator for NCCL, with NCCL and CUDA played by the stand-in.

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "launcher/nccl_communicator.h"
#include "tests/mpi/groups.h"
#include "tests/mpi/nccl_stand_in.h"

namespace diffq {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A group with its stand-in; "GPU memory" is host memory.
class NcclGroup {
 public:
  explicit NcclGroup(int ranks, std::chrono::milliseconds deadline = 60s)
      : group_(ranks), api(group_.mpi()), deadline_(deadline) {
    compute = api.create_stream();
  }
  ~NcclGroup() {
    communicator.reset();
    api.destroy_stream(compute);
  }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  void start(at::Device device = at::kCPU) {
    communicator.emplace(api, *group_,
                         NcclSettings{device, [this] { return compute; }, deadline_,
                                      [this](const CollectiveWatch::Trouble& trouble) {
                                        alarms.push_back(trouble);
                                        alarmed_.set_value();
                                      }});
  }
  // What the alarm said; a failure where it does not come in time.
  CollectiveWatch::Trouble wait_for_alarm() {
    const bool came = alarmed_.get_future().wait_for(30s) == std::future_status::ready;
    EXPECT_TRUE(came);
    return came ? alarms.at(0) : CollectiveWatch::Trouble{};
  }
  void meet() { MPI_Barrier(group_.mpi()); }
  int rank() { return group_->rank(); }
  int size() { return group_->size(); }
  int last() { return size() - 1; }
  int number() { return group_.number(); }
  std::string name(int rank) {
    return "rank " + std::to_string(rank) + "/" + std::to_string(size()) + " host" + std::to_string(number());
  }
  MpiCommunicator& hosts() { return *group_; }

 private:
  Group group_;

 public:
  NcclStandIn api;
  GpuStream* compute = nullptr;
  std::vector<CollectiveWatch::Trouble> alarms;
  std::optional<NcclCommunicator> communicator;

 private:
  std::chrono::milliseconds deadline_;
  std::promise<void> alarmed_;
};

}  // namespace diffq
