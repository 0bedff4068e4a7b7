#include "datasets/warning.h"

#include <cstdio>
#include <mutex>
#include <utility>

namespace diffq {
namespace {

std::mutex mutex;
std::function<void(const std::string&)> receiver;

}  // namespace

void set_data_warning(std::function<void(const std::string&)> receive) {
  const std::lock_guard lock(mutex);
  receiver = std::move(receive);
}

void warn_of_data(const std::string& where, const std::string& what) {
  const std::lock_guard lock(mutex);
  const std::string text = where + ": " + what;
  if (receiver) {
    receiver(text);
  } else {
    std::fprintf(stderr, "diffq: warning: %s\n", text.c_str());
  }
}

}  // namespace diffq
