#pragma once
// The quantizers of all methods on a GPU: what every step does are kernels over all tensors at once, on the
// current stream, without waiting and without taking memory. What is asked for once an epoch (sizes, packing,
// start values) is the CPU quantizer's, on copies of the weights in the host's memory.

#include "quant/device_kernels.h"
#include "quant/quantizer.h"

namespace diffq {

struct TableRows;

class DeviceQuantizer : public Quantizer {
 public:
  /// `kernels`: cuda_kernels(), or those that a test has for the CPU's memory.
  DeviceQuantizer(const MethodSpec& method, const QuantSpec& quant, const DeviceKernels& kernels);

  bool selects(const std::string& name, int64_t numel) const override { return host_->selects(name, numel); }
  int64_t own_count(int64_t numel) const override { return host_->own_count(numel); }
  bool copies_kept() const override { return host_->copies_kept(); }
  bool takes_bf16() const override { return true; }

  /// All tensors on one device.
  void bind(std::vector<QuantizedTensor> quantized, std::vector<KeptTensor> kept) override;
  void initialize_own() override;

  void set_step(NoiseKey key, double lambda) override;
  void materialize(NoiseKey key) override;
  void materialize_rounded() override;
  void pull_back(std::span<const size_t> tensors) override;
  void add_size_gradient(double lambda) override;
  void constrain_own() override;
  void fit_size(double target_mb) override;
  void freeze() override;

  double expected_size_mb() const override;
  double size_mb() const override;
  double least_size_mb() override { return host_->least_size_mb(); }
  std::vector<TensorBits> bits() const override;
  LevelGrid grid() const override { return host_->grid(); }
  TensorLayout layout(size_t tensor) const override { return host_->layout(tensor); }
  std::vector<uint8_t> pack(size_t tensor, Coding coding) const override;

 private:
  void fill_table();
  void begin_step(StepScalars scalars);
  void find_extremes();
  void add_segment(size_t tensor, TableRows& rows) const;
  void pull_back_range(size_t first, size_t last);
  at::Tensor seen(size_t tensor) const;
  void see(bool full_precision);
  void round_to_fixed_bits();
  void round_to_widths();
  void take_widths();
  void round_on_host();
  void copy_own() const;
  bool clips() const { return method_.method == Method::diffq && method_.clip == Clip::mse; }
  NoiseLaw law() const {
    return {map_, method_.noise, PhiloxKeys::of(key_.seed), noise_factor(method_.noise), clips()};
  }
  Stream stream() const;

  MethodSpec method_;
  const DeviceKernels& kernels_;
  GroupMap map_;
  ScaleLevels levels_;
  NoiseKey key_;
  StepScalars sent_{};  ///< what the device has of them
  std::unique_ptr<Quantizer> host_;
  std::vector<QuantizedTensor> quantized_, copies_;  ///< on the device, and in the host's memory
  std::vector<KeptTensor> kept_;
  std::vector<Segment> segments_;
  ModelTable table_{};
  std::vector<at::Tensor> table_memory_;
  at::Tensor widths_;  ///< of all groups of the model, as rounded
  bool frozen_ = false;
};

}  // namespace diffq
