#include "launcher/rank_memory.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "launcher/group_runner.h"
#include "launcher/world.h"
#include "results/records.h"
#include "sweeps/words.h"
#include "trainer/footprint.h"

namespace diffq {
namespace {

constexpr double kLeastSamples = 2, kFewSamples = 8, kQuickSeconds = 4;
// What MPI takes of every rank, and no dry run: measured with Open MPI 4.1, 2 to 4 ranks on a host.
constexpr double kMpiMb = 12;

struct Try {
  double share = 0;  ///< of the batch sizes
  double peak_mb = kNotApplicable;
  double seconds = 0;  ///< of computing
};

double seconds_of(const timeval& time) { return double(time.tv_sec) + double(time.tv_usec) * 1e-6; }

double free_mb() {
  std::ifstream text("/proc/meminfo");
  for (std::string word; text >> word;) {
    double kib = 0;
    if (word == "MemAvailable:" && text >> kib) return kib / 1024;
  }
  return HUGE_VAL;
}

// The program, asked for one dry run. Its peak is NaN when it does not end well. It is refused more memory
// than is free, so that the system ends no other process for it.
Try try_with(const std::string& program, double share, const std::string& asked) {
  Try result{.share = share};
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return result;
  const double most = free_mb() * (1 << 20);
  const rlimit limit{std::isfinite(most) ? static_cast<rlim_t>(most) : RLIM_INFINITY, RLIM_INFINITY};
  const pid_t child = fork();
  if (child == 0) {
    setrlimit(RLIMIT_DATA, &limit);
    dup2(out[1], STDOUT_FILENO);
    execl(program.c_str(), "diffq", "dry-run", asked.c_str(), nullptr);
    _exit(127);
  }
  close(out[1]);
  char text[64] = {};
  const bool told = read(out[0], text, sizeof text - 1) > 0;
  close(out[0]);
  int status = 1;
  rusage used{};
  if (child < 0 || wait4(child, &status, 0, &used) != child || status != 0 || !told) return result;
  result.peak_mb = std::stod(text);
  result.seconds = seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
  return result;
}

// What decides the memory of a run, but for its method: no seed and no rate does.
std::string kind_of(const Run& run) {
  using namespace nlohmann::literals;
  nlohmann::json kind = run.config;
  for (const char* other : {"seed", "start", "method"}) kind.erase(other);
  // PTQ trains nothing.
  if (kind.contains("/train/optimizer"_json_pointer)) kind["train"]["optimizer"].erase("lr");
  return kind.dump();
}

}  // namespace

double RankMemory::mb(const Run& run, int ranks) {
  if (program_.empty()) return kNotApplicable;
  const auto try_share = [&](double share, bool with_track = false) {
    const nlohmann::json asked = {
        {"config", model_config(run)}, {"ranks", ranks}, {"share", share}, {"with_track", with_track}};
    return try_with(program_, share, asked.dump());
  };
  const std::string kind = kind_of(run);
  const std::string method = kind + word_of(run.spec.method.method, kMethodNames);
  const auto [known, kind_is_new] = kinds_.try_emplace(kind);
  Peaks& peaks = known->second;
  if (kind_is_new) {
    const double samples =
        double(run.spec.train.batch_size) / ranks / double(run.spec.train.accumulate_steps);
    const auto try_samples = [&](double count) { return try_share(std::min(1.0, count / samples)); };
    // Two samples tell little, but for those of a model that takes seconds for them.
    Try last = try_samples(kLeastSamples), before;
    if (last.seconds < kQuickSeconds && last.share < 1 && !std::isnan(last.peak_mb))
      last = try_samples(kFewSamples);
    peaks.least_share = last.share;
    least_mb_[method] = peaks.least_mb = last.peak_mb;
    while (last.share < 1 && (last.share == peaks.least_share || last.seconds < kQuickSeconds)) {
      before = last;
      last = try_share(std::min(1.0, (last.seconds < kQuickSeconds / 2 ? 4 : 2) * last.share));
    }
    peaks.whole_mb = last.peak_mb;
    if (last.share < 1)
      peaks.whole_mb += (last.peak_mb - before.peak_mb) / (last.share - before.share) * (1 - last.share);
    if (benchmark_name(run.spec.data.name) == BenchmarkName::audio) {
      const double track_mb = try_share(peaks.least_share, /*with_track=*/true).peak_mb;
      if (!(track_mb <= peaks.whole_mb)) peaks.whole_mb = track_mb;  // NaN too
    }
  }
  // Methods differ in what they hold of the weights, whatever the batch.
  const auto [least, method_is_new] = least_mb_.try_emplace(method);
  if (method_is_new) least->second = try_share(peaks.least_share).peak_mb;
  return peaks.whole_mb + least->second - peaks.least_mb + kMpiMb;
}

int dry_run_command(const std::string& request) {
  const auto asked = nlohmann::json::parse(request);
  at::set_num_threads(compute_threads(1));
  const RunSpec spec = read_model_config(asked.at("config"), "dry-run");
  const DataSplits data = open_data(spec.data);
  std::printf("%.6g\n", dry_run(spec, data, asked.at("ranks"), asked.at("share"), asked.at("with_track")));
  return 0;
}

}  // namespace diffq
