// Writes the sample tables (argument 1) and a file with empty tables (argument 2), for read_results.py.

#include "tests/results/sample_results.h"

int main(int, char** arguments) {
  diffq::write_results(arguments[1], diffq::sample_results());
  diffq::write_results(arguments[2], {});
}
