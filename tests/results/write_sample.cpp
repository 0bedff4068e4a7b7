// For read_results.py: `write A B` writes the sample tables to A and empty tables to B; `read FILE` reads a
// file and says what it holds, or what is wrong with it.

#include <exception>
#include <iostream>
#include <string>

#include "tests/results/sample_results.h"

int main(int count, char** arguments) try {
  if (count == 4 && std::string(arguments[1]) == "write") {
    diffq::write_results(arguments[2], diffq::sample_results());
    diffq::write_results(arguments[3], {});
  } else if (count == 3 && std::string(arguments[1]) == "read") {
    const diffq::ResultFile results = diffq::read_results(arguments[2]);
    std::cout << results.sweep << " " << results.runs.size() << " " << results.epochs.size() << " "
              << results.layers.size() << " " << results.environment.size() << "\n";
    for (const diffq::RunRow& run : results.runs) std::cout << run.run_id << " " << run.method << "\n";
  } else {
    return 2;
  }
} catch (const std::exception& error) {
  std::cout << error.what() << "\n";
  return 1;
}
