// Sweeps of thousands of runs that train nothing, for tests/bench/large_sweeps.py.
//
//   sweep_bench fill SWEEP.json DIR             runs the sweep into DIR: results and files of made-up numbers
//   mpirun -n 32 sweep_bench queue SWEEP.json DIR   asks the queue for all runs of the sweep, while
//   results.h5 is
//                                               rebuilt all the time; prints how long answers took, in ms

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "launcher/progress.h"
#include "launcher/queue_service.h"
#include "launcher/results_writer.h"
#include "launcher/run_sweep.h"
#include "launcher/world.h"

namespace {

using namespace diffq;

RunRecord made_up(const RunSpec& spec, const std::string& run_id) {
  RunRecord record;
  record.run.run_id = run_id;
  record.run.status = "done";
  record.run.metric = 90 + spec.method.lambda;
  record.run.size_mb = 1;
  record.run.train_seconds = 0.5;
  for (int64_t epoch = 1; epoch <= 10; ++epoch) record.epochs.push_back({run_id, epoch, 0.1, 0.2, 90});
  for (int layer = 0; layer < 20; ++layer)
    record.layers.push_back({run_id, "layer" + std::to_string(layer) + ".weight", 1000});
  return record;
}

RunRecord train_nothing(const RunSpec& spec, const DataSplits&, Communicator&, const RunContext& context) {
  std::ofstream(context.model_file, std::ios::binary) << std::string(100'000, 'x');
  return made_up(spec, context.run_id);
}

int fill(const char* sweep, const char* folder) {
  RunOptions options;
  options.sweep_file = sweep;
  options.out = folder;
  options.quiet = true;
  return run_sweep(options, train_nothing);
}

// What rank 0 does beside asking for runs itself.
struct Headquarters {
  Headquarters(const Sweep& sweep, const char* folder, MPI_Comm queue, int groups)
      : state(sweep, read_folder(folder, sweep, false, warnings), every_run(sweep), folder, {}),
        progress(state, groups, /*quiet=*/true),
        service(queue, groups, 1, state, progress, [] { return std::string(); }),
        rebuilding([this, folder] {
          for (; !done; ++rebuilt) write_result_files(folder, state.results());
        }) {}
  ~Headquarters() {
    service.join();
    done = true;
    rebuilding.join();
  }
  static std::vector<size_t> every_run(const Sweep& sweep) {
    std::vector<size_t> runs(sweep.runs.size());
    for (size_t i = 0; i < runs.size(); ++i) runs[i] = i;
    return runs;
  }

  std::vector<std::string> warnings;
  SweepState state;
  Progress progress;
  QueueService service;
  std::atomic<bool> done = false;
  std::atomic<int> rebuilt = 0;
  std::thread rebuilding;
};

int queue(const char* file, const char* folder) {
  const World world;
  std::ifstream text(file);
  const Sweep sweep =
      read_sweep({std::istreambuf_iterator<char>(text), {}}, file, {},
                 {[](const DataSpec&) { return "0"; }, [](const std::string&) { return "0"; }});
  std::optional<Headquarters> headquarters;
  if (world.rank() == 0) headquarters.emplace(sweep, folder, world.communicator(), world.size());
  std::vector<double> answers;
  QueueClient client(world.communicator(), world.rank());
  while (true) {
    const auto asked = std::chrono::steady_clock::now();
    const int run = client.next();
    if (run < 0) break;  // that answer waits for the last run, as it should
    answers.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - asked).count());
    const Run& given = sweep.runs[static_cast<size_t>(run)];
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + run % 100));
    client.done(static_cast<size_t>(run), made_up(given.spec, given.run_id), nlohmann::json::object());
  }
  const auto all = world.gather(nlohmann::json(answers).dump());
  if (world.rank() == 0) {
    const int rebuilt = headquarters->rebuilt;
    headquarters.reset();
    std::vector<double> sorted;
    for (const std::string& part : all) {
      for (const double ms : nlohmann::json::parse(part)) sorted.push_back(ms);
    }
    std::ranges::sort(sorted);
    const nlohmann::json result{{"answers", sorted.size()},
                                {"median_ms", sorted[sorted.size() / 2]},
                                {"99_percent_ms", sorted[sorted.size() * 99 / 100]},
                                {"longest_ms", sorted.back()},
                                {"rebuilt", rebuilt}};
    std::printf("%s\n", result.dump().c_str());
  }
  world.barrier();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return std::string(argv[1]) == "fill" ? fill(argv[2], argv[3]) : queue(argv[2], argv[3]);
}
