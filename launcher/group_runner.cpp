#include "launcher/group_runner.h"

#include <chrono>
#include <cmath>
#include <cstdio>

#include "launcher/run_history.h"
#include "launcher/version.h"
#include "results/durable_file.h"
#include "results/tables.h"
#include "trainer/checkpoint.h"
#include "trainer/train_step.h"

namespace diffq {
namespace {

constexpr auto kProgressPause = std::chrono::milliseconds(500);

// What the run itself measured, in the row that says which run it is.
RunRow complete(const RunRow& measured, const Run& run, int ranks) {
  const RunRow planned = planned_row(run, ranks);
  RunRow row = measured;
  row.run_id = planned.run_id;
  row.dataset = planned.dataset;
  row.model = planned.model;
  row.method = planned.method;
  row.lambda = planned.lambda;
  row.bits = planned.bits;
  row.group_size = planned.group_size;
  row.seed = planned.seed;
  row.ranks = ranks;
  row.program_version = planned.program_version;
  row.git_commit = planned.git_commit;
  row.config_json = planned.config_json;
  return row;
}

std::string epoch_line(const EpochRow& row) {
  char text[256], bits[32] = "";
  if (!std::isnan(row.mean_bits)) std::snprintf(bits, sizeof(bits), "%.3g bits, ", row.mean_bits);
  std::snprintf(text, sizeof(text),
                "epoch %lld: train loss %.5g, valid loss %.5g, metric %.4f, %.6g MB, %s%.1f s",
                static_cast<long long>(row.epoch), row.train_loss, row.eval_loss, row.metric, row.size_mb,
                bits, row.seconds);
  return text;
}

}  // namespace

std::string model_config(const Run& run) {
  nlohmann::json config = run.config;
  config["run_id"] = run.run_id;
  config["data"]["root"] = run.spec.data.root;
  if (starts_from_file(run.spec)) config["method"]["start"] = run.spec.method.start;
  return config.dump();
}

GroupRunner::GroupRunner(const Sweep& sweep, std::filesystem::path folder, int group, MPI_Comm queue,
                         MpiCommunicator& hosts, Communicator& communicator, const StopSignals& signals,
                         const TrainFunction& train, at::Device device)
    : sweep_(sweep),
      folder_(std::move(folder)),
      queue_(queue, group),
      hosts_(hosts),
      communicator_(communicator),
      signals_(signals),
      train_(train),
      device_(device) {}

void GroupRunner::run() {
  while (true) {
    const int index = hosts_.broadcast(is_root() ? queue_.next() : 0);
    if (index < 0) return;
    run_one(static_cast<size_t>(index));
  }
}

void GroupRunner::run_one(size_t index) {
  const Run& run = sweep_.runs[index];
  try {
    RunRecord record = train_one(run, index);
    record.run = complete(record.run, run, hosts_.size());
    std::string failure;
    nlohmann::json files;
    try {
      if (is_root()) {
        write_record(run, record);
        files = sums_of_run(folder_of(run));
        remove_checkpoints(folder_of(run));
      }
    } catch (const std::exception& error) {
      failure = error.what();
    }
    hosts_.agree(failure);
    if (is_root()) queue_.done(index, record, files);
  } catch (const RunFailure& failure) {
    if (is_root()) queue_.failed(index, failure.what());
  } catch (const RunStopped&) {
    if (is_root()) queue_.stopped(index);
  }
}

RunRecord GroupRunner::train_one(const Run& run, size_t index) {
  std::ofstream log;
  std::string failure;
  try {
    data_for(run);
    if (is_root()) open_folder(run, log);
  } catch (const std::exception& error) {
    failure = reason_of(error);
  }
  hosts_.agree(failure);

  const RunContext context = context_of(run, index, log);
  const CrashMark mark(folder_of(run) / "crash", who());
  try {
    return train_(run.spec, data_, communicator_, context);
  } catch (const RunFailure& reason) {
    if (is_root()) log << utc_now() << " failed: " << reason.what() << std::endl;
    throw;
  } catch (const RunStopped& stopped) {
    if (is_root()) log << utc_now() << " " << stopped.what() << std::endl;
    throw;
  } catch (const std::exception& error) {
    mark.write(reason_of(error));
    throw;
  }
}

void GroupRunner::open_folder(const Run& run, std::ofstream& log) {
  std::filesystem::create_directories(folder_of(run));
  remove_temporaries(folder_of(run));
  replace_file(folder_of(run) / "spec.json", run.config.dump(2) + "\n");
  log.open(folder_of(run) / "log.txt", std::ios::app);
  log << utc_now() << " started on " << hosts_.size() << " ranks, diffq " << program_version() << " "
      << git_commit() << std::endl;
}

RunContext GroupRunner::context_of(const Run& run, size_t index, std::ofstream& log) {
  RunContext context;
  context.run_id = run.run_id;
  context.device = device_;
  if (run.depends_on >= 0) {
    context.start_file = folder_of(sweep_.runs[static_cast<size_t>(run.depends_on)]) / "model.safetensors";
  }
  if (starts_from_file(run.spec)) context.start_file = run.spec.method.start;
  context.model_file = folder_of(run) / "model.safetensors";
  context.checkpoint_folder = folder_of(run);
  context.config = model_config(run);
  context.signal = [this] { return signal(); };
  auto told = std::chrono::steady_clock::now() - kProgressPause;
  context.on_progress = [this, index, told](const RunProgress& progress) mutable {
    if (std::chrono::steady_clock::now() - told < kProgressPause) return;
    told = std::chrono::steady_clock::now();
    queue_.progress(index, progress);
  };
  context.on_epoch = [this, index, &log](const EpochRow& row) {
    log << utc_now() << " " << epoch_line(row) << std::endl;
    queue_.epoch(index, row);
  };
  context.on_resume = [this, index, &log](const Resumption& from) {
    log << utc_now() << " goes on from " << from.checkpoint << ", epoch " << from.epoch << " after step "
        << from.step << std::endl;
    for (const EpochRow& row : from.epochs) queue_.epoch(index, row);
  };
  context.on_warning = [&log](const std::string& warning) {
    log << utc_now() << " warning: " << warning << std::endl;
    std::fprintf(stderr, "diffq: warning: %s\n", warning.c_str());
  };
  return context;
}

/// What this rank was told, by a signal of its own or, on the group's root, by the queue.
Signal GroupRunner::signal() {
  if (is_root() && queue_.told_to_stop()) return Signal::stop;
  return signals_.poll();
}

std::string GroupRunner::who() const {
  return "[rank " + std::to_string(hosts_.rank()) + "/" + std::to_string(hosts_.size()) + " " +
         hosts_.host() + "]";
}

const DataSplits& GroupRunner::data_for(const Run& run) {
  const std::string key = run.config.at("data").dump() + run.spec.data.root;
  if (key != data_key_) {
    data_key_.clear();
    data_ = {};  // the old set goes before the new one comes
    data_ = open_data(run.spec.data);
    data_key_ = key;
  }
  return data_;
}

void GroupRunner::write_record(const Run& run, const RunRecord& record) {
  ResultFile file;
  file.sweep = sweep_.name;
  file.program_version = program_version();
  file.git_commit = git_commit();
  file.runs = {record.run};
  file.epochs = record.epochs;
  file.layers = record.layers;
  file.tracks = record.tracks;
  write_results(folder_of(run) / "result.h5", file);
}

}  // namespace diffq
