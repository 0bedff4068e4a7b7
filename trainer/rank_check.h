#pragma once
// Ranks of a group must have the same weights, bits and buffers after every step; memory that went bad, or a
// kernel that is no function of its input, would ruin a run in silence. A 64-bit hash of each tensor is
// compared over the group: a tensor of one rank that differs in one bit is found for certain.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/communicator.h"
#include "trainer/parameter_store.h"

namespace diffq {

class RankCheck {
 public:
  explicit RankCheck(const ParameterStore& store);

  /// Of every tensor as it is now, on this rank. Waits for the device once.
  std::vector<uint64_t> hashes() const;
  /// Collective. `hashes`: this rank's. Throws RunFailure, the same on all ranks, that names the rank and the
  /// tensor which differ.
  void compare(const std::vector<uint64_t>& hashes, Communicator& communicator) const;

 private:
  struct Named {
    std::string name;
    at::Tensor tensor;
  };
  at::Tensor hash_of(const at::Tensor& tensor) const;

  std::vector<Named> tensors_;
  at::Tensor factors_;  ///< int64, odd, on the device
};

}  // namespace diffq
