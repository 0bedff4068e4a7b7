// Writes a made-up sweep: `write_sample_sweep DIR [large]` makes DIR/results.h5; `large` has 10,000 runs of
// 300 epochs.

#include <exception>
#include <filesystem>
#include <iostream>
#include <string>

#include "tests/results/sample_sweep.h"

int main(int count, char** arguments) try {
  if (count < 2 || count > 3 || (count == 3 && std::string(arguments[2]) != "large")) return 2;
  diffq::SampleSweep shape;
  // Seeds count for image and language, audio has one: 2 · 5 + 1 times 910 settings.
  if (count == 3)
    shape = {.lambdas = 216, .families = 4, .bits = 15, .seeds = 5, .epochs = 300, .layers = 20};
  const diffq::ResultFile file = diffq::sample_sweep(shape);
  const auto path = std::filesystem::path(arguments[1]) / "results.h5";
  diffq::write_results(path, file);
  std::cout << path.string() << ": " << file.runs.size() << " runs, " << file.epochs.size() << " epochs, "
            << file.layers.size() << " layers\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
