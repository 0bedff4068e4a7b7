#include "trainer/communicator.h"

#include <c10/util/Exception.h>

#include <new>

namespace diffq {

std::string reason_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return "out of memory (std::bad_alloc)";
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text.empty() ? "an error without a message" : text;
}

void Communicator::agree(const std::string& failure) {
  const std::string first = first_failure(failure);
  if (!first.empty()) throw RunFailure(first);
}

}  // namespace diffq
