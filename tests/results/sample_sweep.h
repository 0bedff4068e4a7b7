#pragma once
// A made-up sweep with all that a report has to show: three benchmarks (one of which less is better), all
// methods, failed, pending and diverged runs, a benchmark with one seed. Its numbers are drawn from simple
// curves and mean nothing.

#include "results/tables.h"

namespace diffq {

struct SampleSweep {
  size_t lambdas = 6;   ///< from 0.001 to 100
  size_t families = 1;  ///< settings of DiffQ beside λ (bits_lr)
  size_t bits = 4;      ///< 2, 3, … of each baseline
  int64_t seeds = 3;    ///< of image and language; audio has one
  int64_t epochs = 12;
  size_t layers = 6;
};

ResultFile sample_sweep(const SampleSweep& shape);

}  // namespace diffq
