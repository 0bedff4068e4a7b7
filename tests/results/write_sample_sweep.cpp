// Writes a made-up sweep: `write_sample_sweep DIR` makes results.h5, report.html and live.html, which loads
// itself again every second; `write_sample_sweep DIR large` makes results.h5 alone, with 10,000 runs of 300
// epochs.

#include <exception>
#include <filesystem>
#include <iostream>
#include <string>

#include "results/durable_file.h"
#include "results/report.h"
#include "tests/results/sample_sweep.h"

namespace {

namespace fs = std::filesystem;

void write_small(const fs::path& folder) {
  const diffq::ResultFile file = diffq::sample_sweep({});
  const diffq::Report report(file);
  diffq::write_results(folder / "results.h5", file);
  diffq::replace_file(folder / "report.html", diffq::html_report(report));
  diffq::replace_file(folder / "live.html", diffq::html_report(report, 1));
}

void write_large(const fs::path& folder) {
  // 910 settings a benchmark; image and language have five seeds, audio has one: 10,010 runs.
  const diffq::ResultFile file = diffq::sample_sweep(
      {.lambdas = 216, .families = 4, .bits = 15, .seeds = 5, .epochs = 300, .layers = 20});
  diffq::write_results(folder / "results.h5", file);
  std::cout << file.runs.size() << " runs, " << file.epochs.size() << " epochs, " << file.layers.size()
            << " layers\n";
}

}  // namespace

int main(int count, char** arguments) try {
  if (count == 2) {
    write_small(arguments[1]);
  } else if (count == 3 && std::string(arguments[2]) == "large") {
    write_large(arguments[1]);
  } else {
    return 2;
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
