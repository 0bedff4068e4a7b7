#pragma once
// The group's communicator on NCCL, for gradients in GPU memory: sums run on a stream of their own, ordered
// against the computing stream by events, so that they overlap with backward and the host never waits. Sums
// come out as means. What lies in host memory goes over MPI.

#include <ATen/core/Tensor.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "launcher/collective_watch.h"
#include "launcher/mpi_communicator.h"
#include "launcher/nccl_api.h"

namespace diffq {

struct NcclSettings {
  at::Device device = at::Device(at::kCUDA, 0);  ///< this rank's
  std::function<GpuStream*()> compute;  ///< the stream that this thread's kernels go to; null: CUDA's default
  std::chrono::milliseconds deadline = std::chrono::minutes(5);  ///< of every collective, and of the start
  /// On a thread of its own, when the group is lost; ends the process.
  std::function<void(const CollectiveWatch::Trouble&)> alarm;
};

class NcclCommunicator : public Communicator {
 public:
  /// Collective. `hosts`: the same group over MPI. Both are borrowed. Throws std::runtime_error on every
  /// rank, with the reason, if any rank can't join; where ranks have met before that, the alarm comes first.
  NcclCommunicator(NcclApi& api, MpiCommunicator& hosts, NcclSettings settings);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return hosts_.rank(); }
  int size() const override { return hosts_.size(); }
  double divisor() const override { return 1; }
  void start_sum(const at::Tensor& bucket) override;
  /// Makes the computing stream wait for the sums; the host goes on.
  void wait() override;
  void broadcast(const at::Tensor& tensor) override;
  void sum(std::span<double> values) override;
  void check() override;

 protected:
  std::string first_failure(const std::string& mine) override;

 private:
  /// A collective on the GPU, and what tells how far it is.
  struct Pending {
    int64_t sequence = 0;
    GpuEvent* reached = nullptr;  ///< the computing stream has come to it
    GpuEvent* ended = nullptr;
  };
  void join(const NcclId& id);
  void leave();
  template <class Call>
  void start(Collective::Op op, const at::Tensor& tensor, int64_t bucket, const Call& call);
  void settle();
  GpuEvent* take_event();
  CollectiveWatch::Progress poll();
  void abort();

  NcclApi& api_;
  MpiCommunicator& hosts_;
  NcclSettings settings_;
  GpuStream* stream_ = nullptr;
  GpuEvent* summed_ = nullptr;
  int64_t sequence_ = 0, bucket_ = 0;

  std::mutex mutex_;                              ///< of what follows, which the watch's thread uses too
  NcclComm* communicator_ = nullptr;              ///< null before the start and after an abort
  std::deque<Pending> pending_;                   ///< in order
  std::vector<GpuEvent*> free_events_;            ///< none of them is waited for
  std::atomic<int64_t> reached_ = 0, ended_ = 0;  ///< sequences: how far the GPU is
  std::optional<CollectiveWatch> watch_;          ///< last: its thread uses all else
};

}  // namespace diffq
