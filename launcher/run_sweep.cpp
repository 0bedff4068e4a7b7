#include "launcher/run_sweep.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "launcher/folder_lock.h"
#include "launcher/gpu_map.h"
#include "launcher/group_runner.h"
#include "launcher/host_watch.h"
#include "launcher/leave.h"
#include "launcher/load_sweep.h"
#include "launcher/nccl_communicator.h"
#include "launcher/progress.h"
#include "launcher/queue_service.h"
#include "launcher/results_writer.h"
#include "launcher/signals.h"
#include "launcher/version.h"
#include "launcher/world.h"
#include "quant/device_memory.h"
#include "results/report.h"

namespace diffq {
namespace {

// What world rank 0 alone has to know before it starts.
struct Outlook {
  std::vector<size_t> selected;
  std::vector<RankGpus> ranks;  ///< what each has to choose from
  std::vector<int> gpus;        ///< of each rank, or kNoGpu
  FolderState folder;           ///< what earlier starts left
  std::unique_ptr<FolderLock> lock;
};

std::vector<size_t> all_runs(const Sweep& sweep) {
  std::vector<size_t> runs(sweep.runs.size());
  std::iota(runs.begin(), runs.end(), size_t{0});
  return runs;
}

FolderState earlier(const Sweep& sweep, const RunOptions& options) {
  std::vector<std::string> warnings;
  FolderState state = read_folder(options.out, sweep, options.retry_failed, warnings);
  tell(warnings);
  return state;
}

std::unique_ptr<FolderLock> lock_folder(const std::string& folder) {
  try {
    std::filesystem::create_directories(folder);
    return std::make_unique<FolderLock>(folder);
  } catch (const std::invalid_argument&) {
    throw;  // taken
  } catch (const std::exception& error) {
    throw std::invalid_argument(folder + ": can't be written: " + error.what() + "; give another --out");
  }
}

// Rank 0 checks everything the user wrote; all ranks learn of its verdict before anything is made.
std::optional<Sweep> agree_on_sweep(const RunOptions& options, const World& world, Outlook& outlook) {
  std::string text, error;
  Sweep sweep;
  if (world.rank() == 0) {
    try {
      LoadedSweep loaded = load_sweep(options.sweep_file, options.overrides);
      sweep = shard_of(std::move(loaded.sweep), options.shard);
      text = std::move(loaded.text);
      outlook.selected = options.only.empty() ? all_runs(sweep) : select_runs(sweep, options.only);
      if (world.size() % sweep.ranks_per_run != 0) {
        throw std::invalid_argument(options.sweep_file +
                                    ": ranks_per_run: " + std::to_string(sweep.ranks_per_run) +
                                    " does not divide the " + std::to_string(world.size()) +
                                    " ranks of this job; start mpirun -n with a multiple of it");
      }
      outlook.gpus = choose_gpus(options.device, outlook.ranks, options.ranks_per_gpu);
      check_folder(options.out, sweep);
      outlook.lock = lock_folder(options.out);
      outlook.folder = earlier(sweep, options);
      prepare_folder(options.out, sweep);
      tell(loaded.warnings);
    } catch (const std::invalid_argument& wrong) {
      error = wrong.what();
      std::fprintf(stderr, "diffq: error: %s\n", error.c_str());
    }
  }
  if (world.broadcast(error.empty() ? 1 : 0) == 0) return std::nullopt;
  text = world.broadcast(text);
  if (world.rank() != 0) sweep = shard_of(read_broadcast_sweep(text), options.shard);
  return sweep;
}

// This rank's, of the map that rank 0 made and prints.
at::Device take_device(const World& world, const Outlook& outlook, NcclApi* api) {
  const bool on_gpus = world.rank() == 0 && outlook.gpus[0] != kNoGpu;
  if (on_gpus) std::fputs(gpu_map_text(outlook.ranks, outlook.gpus).c_str(), stderr);
  const auto gpus = nlohmann::json::parse(world.broadcast(nlohmann::json(outlook.gpus).dump()));
  const int gpu = gpus.at(static_cast<size_t>(world.rank()));
  if (gpu == kNoGpu) return at::kCPU;
  api->use_gpu(gpu);
  return {at::kCUDA, static_cast<at::DeviceIndex>(gpu)};
}

std::vector<EnvironmentRow> gather_environment(const World& world, at::Device device, NcclApi* api) {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  std::string mpi_version(mpi, static_cast<size_t>(length));
  mpi_version = mpi_version.substr(0, mpi_version.find_first_of(",\n"));
  const std::string name = device.is_cpu() ? "cpu" : device.str() + " " + api->gpu_name(device.index());
  std::vector<EnvironmentRow> rows;
  const std::vector<std::string> hosts = world.gather(world.host()), devices = world.gather(name),
                                 threads = world.gather(std::to_string(at::get_num_threads()));
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    EnvironmentRow row;
    row.host = hosts[rank];
    row.rank = static_cast<int64_t>(rank);
    row.device = devices[rank];
    row.program = program_version() + " " + git_commit();
    row.torch = TORCH_VERSION;
    row.mpi = mpi_version;
    if (!device.is_cpu()) row.nccl = api->version();
    row.hdf5 = hdf5_version();
    row.threads = std::stoll(threads[rank]);
    rows.push_back(row);
  }
  return rows;
}

[[noreturn]] void leave_without(const World& world, const std::string& out, const std::string& what) {
  leave("[rank " + std::to_string(world.rank()) + "/" + std::to_string(world.size()) + " " + world.host() +
            "] " + what + ": it or the network to it is down; start the same command again when it is back",
        out + "/lost_hosts.txt", kGoOn);
}

/// The alarm of a group on GPUs whose ranks don't all arrive.
NcclSettings nccl_settings(const RunOptions& options, at::Device device) {
  NcclSettings settings;
  settings.device = device;
  settings.compute = [device] { return reinterpret_cast<GpuStream*>(current_stream(device)); };
  settings.deadline = std::chrono::seconds(options.collective_deadline_seconds);
  settings.alarm = [out = options.out](const CollectiveWatch::Trouble& trouble) {
    const std::string remedy = trouble.starting ? "" : "; start the same command again";
    leave(trouble.what + remedy, out + "/lost_ranks.txt", trouble.starting ? kInternal : kGoOn);
  };
  return settings;
}

/// Where there is more than one host.
std::unique_ptr<HostWatch> watch_hosts(const World& world, const RunOptions& options, int ranks_per_run) {
  const std::vector<RankPlace> places = world.places();
  const bool one_host =
      std::ranges::all_of(places, [&](const RankPlace& place) { return place.node == places[0].node; });
  if (one_host) return nullptr;
  return std::make_unique<HostWatch>(
      world.communicator(), places, ranks_to_watch(places, world.rank(), ranks_per_run),
      std::chrono::seconds(options.host_deadline_seconds),
      [&world, out = options.out](const std::string& what) { leave_without(world, out, what); });
}

// What world rank 0 does beside training: the queue's thread, the thread that rebuilds results.h5, and the
// last word.
class Headquarters {
 public:
  Headquarters(const Sweep& sweep, const RunOptions& options, Outlook outlook, const StopSignals& signals,
               std::vector<EnvironmentRow> environment, MPI_Comm queue, int groups)
      : options_(options),
        signals_(signals),
        lock_(std::move(outlook.lock)),
        state_(sweep, std::move(outlook.folder), outlook.selected, options.out, std::move(environment),
               options.max_starts),
        progress_(state_, groups, options.quiet),
        writer_(state_, options.out),
        service_(queue, groups, sweep.ranks_per_run, state_, progress_, [this] { return housekeeping(); }) {}

  // After this rank's last run. Returns the exit code.
  int close() {
    service_.join();
    writer_.finish();
    state_.sweep_ended();  // last: who reads it in the journal may rely on the files
    if (!options_.quiet) {
      const std::string table = comparison_table(state_.results());
      std::printf("%s\nresults %s/results.h5\nreport  %s/report.md\npage    %s/report.html\n", table.c_str(),
                  options_.out.c_str(), options_.out.c_str(), options_.out.c_str());
      std::fflush(stdout);
    }
    if (state_.unfinished() > 0) return kGoOn;
    return state_.count(RunState::failed) > 0 ? 1 : 0;
  }

 private:
  // On the service's thread: a sign of life, and why the sweep is to stop, if it is.
  std::string housekeeping() {
    lock_->renew();
    if (!signals_.name().empty()) return signals_.name();
    const std::chrono::duration<double, std::ratio<60>> minutes = std::chrono::steady_clock::now() - began_;
    if (options_.max_minutes > 0 && minutes.count() > options_.max_minutes) return "--max-minutes";
    return "";
  }

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  const RunOptions& options_;
  const StopSignals& signals_;
  std::unique_ptr<FolderLock> lock_;
  SweepState state_;
  Progress progress_;
  ResultsWriter writer_;
  QueueService service_;
};

}  // namespace

int run_sweep(const RunOptions& options, const TrainFunction& train) {
  const StopSignals signals;  // from the very start: before, they would end the process
  const World world;
  Outlook outlook;
  const auto api = options.device == DeviceChoice::cpu ? nullptr : nccl_library();
  outlook.ranks = gather_gpus(world, api ? api->gpu_uuids() : std::vector<std::string>{});
  const std::optional<Sweep> sweep = agree_on_sweep(options, world, outlook);
  if (!sweep) {
    world.barrier();
    return 2;
  }
  at::set_num_threads(compute_threads(world.local_size()));
  const int group = world.rank() / sweep->ranks_per_run;
  const int groups = world.size() / sweep->ranks_per_run;
  const at::Device device = take_device(world, outlook, api.get());
  auto environment = gather_environment(world, device, api.get());

  MPI_Comm group_comm = MPI_COMM_NULL, queue_comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(world.communicator(), group, world.rank(), &group_comm), "MPI_Comm_split");
  check_mpi(MPI_Comm_dup(world.communicator(), &queue_comm), "MPI_Comm_dup");
  const auto watch = watch_hosts(world, options, sweep->ranks_per_run);
  int code = 0;
  {
    std::optional<Headquarters> headquarters;
    if (world.rank() == 0)
      headquarters.emplace(*sweep, options, std::move(outlook), signals, std::move(environment), queue_comm,
                           groups);
    MpiCommunicator hosts(group_comm, world.host());
    std::optional<NcclCommunicator> nccl;
    if (!device.is_cpu() && hosts.size() > 1) nccl.emplace(*api, hosts, nccl_settings(options, device));
    Communicator& communicator = nccl ? static_cast<Communicator&>(*nccl) : hosts;
    GroupRunner(*sweep, options.out, group, queue_comm, hosts, communicator, signals, train, device).run();
    if (headquarters) code = headquarters->close();
  }
  // All writing has ended before the last barrier; all ranks return the same.
  code = world.broadcast(code);
  world.barrier();
  MPI_Comm_free(&queue_comm);
  return code;
}

}  // namespace diffq
