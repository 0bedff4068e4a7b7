#pragma once
// What is wrong with data but does not stop a run: one line each, to one place for all of datasets/.

#include <functional>
#include <string>

namespace diffq {

/// Sets where warnings ("FILE: what is wrong; what is done") go; without one they go to stderr as
/// "diffq: warning: …". The function is called by one thread at a time, also by those of loaders.
void set_data_warning(std::function<void(const std::string&)> receive);

void warn_of_data(const std::string& where, const std::string& what);

}  // namespace diffq
