#pragma once
// Loss and metric of the whole data set, each sample exactly once on any number of ranks.

#include <vector>

#include "datasets/dataset.h"
#include "results/records.h"
#include "trainer/communicator.h"
#include "trainer/task.h"

namespace diffq {

/// Sums over the group of the weights and buffers as they stand (call Quantizer::materialize_rounded first).
/// Collective; throws RunFailure on all ranks if one fails.
MetricSums evaluate(Task& task, const Dataset& data, const EvalSpec& spec, int workers,
                    Communicator& communicator);

struct TestResult {
  double metric = 0;
  double loss = 0;                    ///< mean over samples
  double count = 0;                   ///< samples
  std::vector<TrackRow> tracks = {};  ///< of music: a row a track and stem, without run ids
};

/// The same for the test set, with the metric that is reported. Music: the mean over stems of the median over
/// tracks of SDR.
TestResult evaluate_test(Task& task, const Dataset& data, const EvalSpec& spec, int workers,
                         Communicator& communicator);

}  // namespace diffq
