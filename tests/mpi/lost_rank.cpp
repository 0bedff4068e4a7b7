// lost_rank FAULT RECORD: a group on the stand-in for NCCL takes steps until its last rank is held up, as
// FAULT says; then the program's own way out is taken. Ends with 3 if nobody notices.

#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "launcher/leave.h"
#include "launcher/nccl_communicator.h"
#include "launcher/world.h"
#include "tests/mpi/groups.h"
#include "tests/mpi/nccl_stand_in.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  using namespace std::chrono_literals;
  const std::string fault = argv[1], record = argv[2];
  const diffq::World world;
  diffq::Group group(world.size());
  diffq::NcclStandIn api(group.mpi());
  diffq::GpuStream* compute = api.create_stream();
  const bool last = world.rank() == world.size() - 1;
  if (last && fault == "start") api.failing_call = "ncclCommInitRankConfig";
  diffq::NcclCommunicator communicator(api, *group,
                                       {at::kCPU, [&] { return compute; }, 2s,
                                        [&](const diffq::CollectiveWatch::Trouble& trouble) {
                                          diffq::leave(trouble.what, record,
                                                       trouble.starting ? diffq::kInternal : diffq::kGoOn);
                                        }});
  const at::Tensor bucket = at::ones({64});
  for (int step = 0; step < 5; ++step) {
    communicator.start_sum(bucket);
    communicator.wait();
    api.synchronize(compute);
  }
  if (last && fault == "asleep") std::this_thread::sleep_for(1h);
  if (last && fault == "suspended") ::raise(SIGSTOP);
  communicator.start_sum(bucket);
  communicator.wait();
  api.synchronize(compute);  // on a GPU: where the host reads the loss
  std::this_thread::sleep_for(1h);
  return 3;
}
