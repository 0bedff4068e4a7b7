#pragma once
// The model that a run ends with as a file (quant/packed_model.h), and models back from such files, or from
// any safetensors file of weights.

#include <filesystem>
#include <string>

#include "quant/packed_model.h"
#include "trainer/parameter_store.h"

namespace diffq {

/// The weights as Quantizer::materialize_rounded has them, packed, with everything else that the model needs.
/// `config`: specification of the run as JSON. The store and the quantizer must outlive the result.
PackedModelWriter pack_model(const ParameterStore& store, const Quantizer& quantizer, Coding coding,
                             const std::string& config);

/// Replaces the file at `path` as a whole. Throws std::runtime_error naming the path.
void write_model(const std::filesystem::path& path, const PackedModelWriter& model);

/// The first few tensors of `file` that are not those of `module`, with their shapes: "conv1.weight is [16,
/// 1, 5, 5], the model's is [16, 3, 3, 3]; …". Empty when all fit.
std::string differences(const PackedModel& file, const torch::nn::Module& module);

/// Bits over the groups of a packed tensor. Throws DamagedFile.
TensorBits bits_of(const PackedModel& file, const ModelTensor& tensor);

/// Sets parameters and buffers of a module that no ParameterStore has taken. Throws DamagedFile, and
/// std::invalid_argument when the file is of another model.
void load_module(const PackedModel& file, torch::nn::Module& module);
/// Sets the master weights and buffers of `module`, whose parameters the store has taken; the same errors.
void load_masters(const PackedModel& file, const torch::nn::Module& module, const ParameterStore& store);

}  // namespace diffq
