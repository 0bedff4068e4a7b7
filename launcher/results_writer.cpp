#include "launcher/results_writer.h"

#include <chrono>
#include <cstdio>

#include "results/durable_file.h"
#include "results/report.h"

namespace diffq {

ResultsWriter::ResultsWriter(const SweepState& state, std::filesystem::path folder)
    : state_(state), folder_(std::move(folder)), thread_([this] { rebuild_every_minute(); }) {}

ResultsWriter::~ResultsWriter() { stop(); }

void ResultsWriter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ResultsWriter::finish() {
  stop();
  const ResultFile results = state_.results();
  const Report report(results);
  write_result_files(folder_, report);
  replace_file(folder_ / "report.html", html_report(report));
}

void ResultsWriter::rebuild_every_minute() {
  size_t written = 0;
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, std::chrono::minutes(1), [&] { return stopping_; })) {
    const size_t changes = state_.changes();
    if (changes == written) continue;
    lock.unlock();
    try {
      const ResultFile results = state_.results();
      write_result_files(folder_, Report(results));
      written = changes;
    } catch (const std::exception& error) {
      // Only a view of what the runs' own files hold: it is tried again, and the last attempt is not
      // forgiven.
      std::fprintf(stderr, "diffq: warning: %s\n", error.what());
    }
    lock.lock();
  }
}

void write_result_files(const std::filesystem::path& folder, const Report& report) {
  write_results(folder / "results.h5", report.results);
  replace_file(folder / "report.md", markdown_report(report));
  replace_file(folder / "results.csv", csv_report(report));
}

}  // namespace diffq
