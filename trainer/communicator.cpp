#include "trainer/communicator.h"

namespace diffq {

void Communicator::agree(const std::string& failure) {
  const std::string first = first_failure(failure);
  if (!first.empty()) throw RunFailure(first);
}

}  // namespace diffq
