#pragma once
// What is kept of a run when it is trained: its row and layers in the results, its packed model.

#include <string>

#include "quant/quantizer.h"
#include "results/records.h"
#include "trainer/parameter_store.h"
#include "trainer/run_spec.h"
#include "trainer/task.h"

namespace diffq {

/// Names, sizes and bits, of the run and of each layer. record.run.run_id is there already; what was measured
/// is left as it is.
void describe_run(const RunSpec& spec, const Task& task, const ParameterStore& store,
                  const Quantizer& quantizer, RunRecord& record);

/// In MB (2^20 bytes).
struct ModelFileSizes {
  double packed_mb = 0;
  double compressed_mb = 0;  ///< what it would take with Coding::zstd
};
/// Writes the packed model, with Coding::bits. `config`: of the run, kept in it.
ModelFileSizes write_model_file(const std::string& path, const ParameterStore& store,
                                const Quantizer& quantizer, const std::string& config);

}  // namespace diffq
