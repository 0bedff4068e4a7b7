#include "launcher/version.h"

#include "git_commit.h"  // generated: cmake/git_commit.cmake

namespace diffq {

std::string program_version() { return DIFFQ_VERSION; }
std::string git_commit() { return DIFFQ_GIT_COMMIT; }

}  // namespace diffq
