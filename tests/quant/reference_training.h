#pragma once
// The `train/` reference cases: Linear → tanh → Linear with cross entropy + penalty * size, followed step by
// step with the gradients and the optimisers written out.

#include "quant/kernels.h"
#include "tests/quant/hdf5_reader.h"

namespace diffq {

/// The method that the attributes of a case describe.
MethodSpec diffq_method(const Hdf5File& file, const std::string& at);

/// Trains as the case says and expects its losses, sizes and final weights, to 1e-4.
void check_training(const Hdf5File& file, const std::string& at, CodePath path);

}  // namespace diffq
