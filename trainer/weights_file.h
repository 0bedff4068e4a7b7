#pragma once
// The final fp32 weights and buffers of a run as a safetensors file, so that other runs can start from them.

#include <filesystem>

#include "trainer/parameter_store.h"

namespace diffq {

/// Writes master weights and floating-point buffers by name, under a temporary name first. Throws
/// std::runtime_error naming the path.
void save_weights(const std::filesystem::path& path, const ParameterStore& store);
/// Overwrites master weights and buffers. Throws std::runtime_error naming the path and the first tensor that
/// differs.
void load_weights(const std::filesystem::path& path, ParameterStore& store);

}  // namespace diffq
