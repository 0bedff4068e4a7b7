#include "launcher/leave.h"

#include <mpi.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include "launcher/journal.h"

namespace diffq {

void leave(const std::string& line, const std::filesystem::path& record, int code) {
  std::fprintf(stderr, "diffq: error: %s\n", line.c_str());
  std::fflush(stderr);
  std::thread([code] {
    std::this_thread::sleep_for(std::chrono::seconds(3));
    ::_exit(code);
  }).detach();
  std::ofstream(record, std::ios::app) << utc_now() << " " << line << std::endl;
  std::this_thread::sleep_for(std::chrono::seconds(1));  // for the others to tell of it too
  MPI_Abort(MPI_COMM_WORLD, code);
  ::_exit(code);
}

}  // namespace diffq
