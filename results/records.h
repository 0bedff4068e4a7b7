#pragma once
// The rows of the result tables, and their JSON form, in which they travel to the queue. Not applicable is
// NaN or "".

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace diffq {

inline constexpr double kNotApplicable = std::numeric_limits<double>::quiet_NaN();

/// One run; names and meaning as the columns of /runs.
struct RunRow {
  std::string run_id, benchmark, dataset, model, method;
  double lambda = kNotApplicable;
  double bits = kNotApplicable;
  double group_size = kNotApplicable;
  int64_t seed = 0;
  int64_t ranks = 1;
  std::string status = "pending";  ///< done | failed | pending
  std::string reason;              ///< why it failed
  std::string metric_name;
  double metric = kNotApplicable;        ///< on the test set, after the last epoch, with the rounded weights
  double metric_valid = kNotApplicable;  ///< on the held-out part of the training set
  double metric_fp32 = kNotApplicable;   ///< metric of the fp32 run of the same benchmark and seed
  bool higher_is_better = true;
  double size_mb = kNotApplicable;  ///< MB = 2^20 bytes, rounded bits
  double size_fp32_mb = kNotApplicable;
  double ratio = kNotApplicable;           ///< size_fp32_mb / size_mb
  double mean_bits = kNotApplicable;       ///< over the quantised entries
  double packed_file_mb = kNotApplicable;  ///< the packed model's file as a whole
  double compressed_file_mb =
      kNotApplicable;  ///< the same with its levels entropy coded (diffq export --compress)
  int64_t epochs = 0, steps = 0, skipped_steps = 0;
  double train_seconds = kNotApplicable, samples_per_second = kNotApplicable, peak_memory_mb = kNotApplicable;
  std::string program_version, git_commit, config_json;
};

/// One epoch of a run, measured on the held-out part.
struct EpochRow {
  std::string run_id;
  int64_t epoch = 0;  ///< from 1
  double train_loss = kNotApplicable, eval_loss = kNotApplicable, metric = kNotApplicable;
  double size_mb = kNotApplicable, expected_size_mb = kNotApplicable, mean_bits = kNotApplicable;
  double lr = kNotApplicable, seconds = kNotApplicable;
  double lambda = kNotApplicable;  ///< diffq: mean over the epoch's steps
};

/// One quantised tensor of a finished run.
struct LayerRow {
  std::string run_id, layer;
  int64_t weights = 0;
  double mean_bits = kNotApplicable, min_bits = kNotApplicable, max_bits = kNotApplicable;
  int64_t bits[16] = {};  ///< weights at each width; columns bits_0 … bits_15
};

/// One stem of a test track (audio): medians over windows of 1 s in dB, by BSS Eval.
struct TrackRow {
  std::string run_id, track, source;
  double sdr = kNotApplicable, isr = kNotApplicable, sir = kNotApplicable, sar = kNotApplicable;
  double usdr = kNotApplicable;  ///< of the whole track, without filters
};

/// One rank's place and what it ran with.
struct EnvironmentRow {
  std::string host;
  int64_t rank = 0;
  std::string device, program, torch, mpi, nccl, hdf5;
  int64_t threads = 0;  ///< that compute; 0 in files of earlier versions
};

/// One sweep file whose runs these are, as it was understood: every default written out.
struct SweepRow {
  std::string sweep, program_version, git_commit, sweep_json;
};

struct RunRecord {
  RunRow run;
  std::vector<EpochRow> epochs;
  std::vector<LayerRow> layers;
  std::vector<TrackRow> tracks;
};

nlohmann::json to_json(const RunRecord& record);  ///< NaN becomes null
RunRecord record_from_json(const nlohmann::json& json);

}  // namespace diffq
