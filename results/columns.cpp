#include "results/columns.h"

namespace diffq {

template <>
const std::vector<Column<RunRow>>& columns() {
  using R = RunRow;
  static const std::vector<Column<R>> list{
      {"run_id", &R::run_id},
      {"benchmark", &R::benchmark},
      {"dataset", &R::dataset},
      {"model", &R::model},
      {"method", &R::method},
      {"lambda", &R::lambda},
      {"bits", &R::bits},
      {"group_size", &R::group_size},
      {"seed", &R::seed},
      {"ranks", &R::ranks},
      {"status", &R::status},
      {"reason", &R::reason},
      {"metric_name", &R::metric_name},
      {"metric", &R::metric},
      {"metric_valid", &R::metric_valid},
      {"metric_fp32", &R::metric_fp32},
      {"higher_is_better", &R::higher_is_better},
      {"size_mb", &R::size_mb},
      {"size_fp32_mb", &R::size_fp32_mb},
      {"ratio", &R::ratio},
      {"mean_bits", &R::mean_bits},
      {"packed_file_mb", &R::packed_file_mb},
      {"compressed_file_mb", &R::compressed_file_mb},
      {"epochs", &R::epochs},
      {"steps", &R::steps},
      {"skipped_steps", &R::skipped_steps},
      {"train_seconds", &R::train_seconds},
      {"samples_per_second", &R::samples_per_second},
      {"peak_memory_mb", &R::peak_memory_mb},
      {"program_version", &R::program_version},
      {"git_commit", &R::git_commit},
      {"config_json", &R::config_json},
  };
  return list;
}

template <>
const std::vector<Column<EpochRow>>& columns() {
  using R = EpochRow;
  static const std::vector<Column<R>> list{
      {"run_id", &R::run_id},
      {"epoch", &R::epoch},
      {"train_loss", &R::train_loss},
      {"eval_loss", &R::eval_loss},
      {"metric", &R::metric},
      {"size_mb", &R::size_mb},
      {"expected_size_mb", &R::expected_size_mb},
      {"mean_bits", &R::mean_bits},
      {"lr", &R::lr},
      {"seconds", &R::seconds},
      {"lambda", &R::lambda, /*later=*/true},
  };
  return list;
}

template <>
const std::vector<Column<LayerRow>>& columns() {
  using R = LayerRow;
  static const std::vector<Column<R>> list = [] {
    std::vector<Column<R>> result{
        {"run_id", &R::run_id},       {"layer", &R::layer},       {"weights", &R::weights},
        {"mean_bits", &R::mean_bits}, {"min_bits", &R::min_bits}, {"max_bits", &R::max_bits},
    };
    for (size_t width = 0; width < 16; ++width) {
      result.push_back({"bits_" + std::to_string(width), HistogramEntry{&R::bits, width}});
    }
    return result;
  }();
  return list;
}

template <>
const std::vector<Column<TrackRow>>& columns() {
  using R = TrackRow;
  static const std::vector<Column<R>> list{
      {"run_id", &R::run_id}, {"track", &R::track}, {"source", &R::source}, {"sdr", &R::sdr},
      {"isr", &R::isr},       {"sir", &R::sir},     {"sar", &R::sar},       {"usdr", &R::usdr},
  };
  return list;
}

template <>
const std::vector<Column<EnvironmentRow>>& columns() {
  using R = EnvironmentRow;
  static const std::vector<Column<R>> list{
      {"host", &R::host},       {"rank", &R::rank},   {"device", &R::device},
      {"program", &R::program}, {"torch", &R::torch}, {"mpi", &R::mpi},
      {"nccl", &R::nccl},       {"hdf5", &R::hdf5},   {"threads", &R::threads, /*later=*/true},
  };
  return list;
}

template <>
const std::vector<Column<SweepRow>>& columns() {
  using R = SweepRow;
  static const std::vector<Column<R>> list{
      {"sweep", &R::sweep},
      {"program_version", &R::program_version},
      {"git_commit", &R::git_commit},
      {"sweep_json", &R::sweep_json},
  };
  return list;
}

}  // namespace diffq
