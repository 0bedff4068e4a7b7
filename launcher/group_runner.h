#pragma once
// One group's life: ask for a run, train it together, write its folder, tell what became of it, ask again.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "datasets/dataset.h"
#include "launcher/mpi_communicator.h"
#include "launcher/queue_service.h"
#include "launcher/run_sweep.h"
#include "launcher/signals.h"
#include "sweeps/sweep.h"

namespace diffq {

/// For the packed model: the specification as JSON, and where the data was.
std::string model_config(const Run& run);

class GroupRunner {
 public:
  /// Everything is borrowed. `queue`: MPI communicator of the queue, over all ranks. `hosts`: the group over
  /// MPI; `communicator`: what it trains with, the same or one on GPUs. `device`: where this rank trains.
  GroupRunner(const Sweep& sweep, std::filesystem::path folder, int group, MPI_Comm queue,
              MpiCommunicator& hosts, Communicator& communicator, const StopSignals& signals,
              const TrainFunction& train, at::Device device);

  /// Collective over the group; returns when no run is left. A run that fails is reported and the next one is
  /// asked for; one that is told to stop is left for later; anything else that goes wrong is thrown.
  void run();

 private:
  void run_one(size_t index);
  RunRecord train_one(const Run& run, size_t index);
  void open_folder(const Run& run, std::ofstream& log);
  RunContext context_of(const Run& run, size_t index, std::ofstream& log);
  Signal signal();
  std::string who() const;
  std::filesystem::path folder_of(const Run& run) const { return folder_ / "runs" / run.run_id; }
  const DataSplits& data_for(const Run& run);
  void write_record(const Run& run, const RunRecord& record);
  bool is_root() const { return hosts_.rank() == 0; }

  const Sweep& sweep_;
  std::filesystem::path folder_;
  QueueClient queue_;
  MpiCommunicator& hosts_;
  Communicator& communicator_;
  const StopSignals& signals_;
  const TrainFunction& train_;
  at::Device device_;
  std::string data_key_;  ///< of data_: most sweeps train all runs on the same
  DataSplits data_;
};

}  // namespace diffq
