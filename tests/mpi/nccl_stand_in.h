#pragma once
// NCCL and CUDA's run time played over MPI and threads, for tests without a GPU: a stream is a thread that
// works off a queue, an event a mark in it, host memory is the GPU's. It keeps a list of the calls, is as
// asynchronous as the real ones, checks that ranks agree on what they do, and fails where a test says so.

#include <mpi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "launcher/nccl_api.h"

namespace diffq {

class NcclStandIn : public NcclApi {
 public:
  /// Of one rank of `group`, of which it takes a duplicate; collective.
  explicit NcclStandIn(MPI_Comm group);
  ~NcclStandIn() override;

  // Faults; set before they are to happen.
  std::string failing_call;         ///< of the C API: fails when it is made
  std::atomic<int> busy_polls = 0;  ///< so often state() says in_progress after a call before it takes effect
  std::atomic<bool> lose_peer = false;  ///< from now on state() fails: a remote process has exited

  std::vector<std::string> uuids;  ///< that gpu_uuids() gives

  /// A kernel of a test's own.
  void launch(GpuStream* stream, std::function<void()> kernel);
  /// Returns when all that was put on the stream has been done.
  void synchronize(GpuStream* stream);

  std::vector<std::string> calls();  ///< so far, streams and events by number
  std::string misuse();              ///< what the real ones would not have forgiven, or ""
  int aborted() const { return aborted_; }
  int alive() const { return alive_; }  ///< communicators, streams and events that were not given back

  NcclId unique_id() override;
  NcclComm* init_rank(int ranks, const NcclId& id, int rank) override;
  NcclState state(NcclComm* communicator) override;
  void all_reduce_mean(float* data, size_t count, NcclComm* communicator, GpuStream* stream) override;
  void broadcast(void* data, size_t bytes, NcclComm* communicator, GpuStream* stream) override;
  void finalize(NcclComm* communicator) override;
  void destroy(NcclComm* communicator) override;
  void abort(NcclComm* communicator) noexcept override;
  std::vector<std::string> gpu_uuids() override { return uuids; }
  std::string version() override { return "stand-in"; }
  std::string gpu_name(int) override { return "stand-in"; }
  void use_gpu(int gpu) override { note("cudaSetDevice " + std::to_string(gpu)); }
  GpuStream* create_stream() override;
  void destroy_stream(GpuStream* stream) noexcept override;
  GpuEvent* create_event() override;
  void destroy_event(GpuEvent* event) noexcept override;
  void record(GpuEvent* event, GpuStream* stream) override;
  void wait(GpuStream* stream, GpuEvent* event) override;
  bool has_happened(GpuEvent* event) override;

 private:
  /// What collectives have in common; `take` gets the data of all ranks.
  void collective(const std::string& function, const std::string& call, void* data, size_t bytes,
                  NcclComm* communicator, GpuStream* stream,
                  const std::function<void(const std::vector<std::string>&)>& take);
  void note(const std::string& call);
  void maybe_fail(const std::string& call) const;
  void misused(const std::string& what);
  void use(NcclComm* communicator, const std::string& call);
  void put(NcclComm* communicator, std::function<void()> effect);
  bool exchange(NcclComm* communicator, const void* mine, size_t bytes, int tag,
                std::vector<std::string>& all);
  bool same_call(NcclComm* communicator, const std::string& call, int tag);

  MPI_Comm mpi_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  std::mutex mutex_;
  std::vector<std::string> calls_;
  std::string misuse_;
  int streams_ = 0;
  std::atomic<int> aborted_ = 0, alive_ = 0;
  // Kept to the end: to notice a late use, and because marks in a queue may outlive their event.
  std::vector<std::unique_ptr<NcclComm>> communicators_;
  std::vector<std::unique_ptr<GpuEvent>> all_events_;
};

}  // namespace diffq
