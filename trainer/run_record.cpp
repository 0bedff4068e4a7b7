#include "trainer/run_record.h"

#include "trainer/model_file.h"
#include "trainer/run_measures.h"

namespace diffq {

void describe_run(const RunSpec& spec, const Task& task, const ParameterStore& store,
                  const Quantizer& quantizer, RunRecord& record) {
  RunRow& run = record.run;
  run.benchmark = task.benchmark();
  run.metric_name = task.metric_name();
  run.higher_is_better = task.higher_is_better();
  run.seed = static_cast<int64_t>(spec.seed);
  run.epochs = spec.train.epochs;
  run.size_mb = quantizer.size_mb();
  int64_t parameters = 0;
  for (const auto& entry : store.entries()) parameters += entry.numel;
  run.size_fp32_mb = static_cast<double>(parameters) * 4 / (1 << 20);
  run.ratio = run.size_fp32_mb / run.size_mb;
  const std::vector<TensorBits> bits = quantizer.bits();
  run.mean_bits = mean_bits(bits);
  record.layers = layer_rows(run.run_id, bits);
}

ModelFileSizes write_model_file(const std::string& path, const ParameterStore& store,
                                const Quantizer& quantizer, const std::string& config) {
  const auto mb = [](const PackedModelWriter& model) {
    return static_cast<double>(model.file_bytes()) / (1 << 20);
  };
  const PackedModelWriter packed = pack_model(store, quantizer, Coding::bits, config);
  write_model(path, packed);
  return {mb(packed), mb(pack_model(store, quantizer, Coding::zstd, config))};
}

}  // namespace diffq
