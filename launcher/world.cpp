#include "launcher/world.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

namespace diffq {
namespace {

int number_in_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::atoi(text) : otherwise;
}

}  // namespace

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw std::runtime_error(std::string(call) + ": " + std::string(text, static_cast<size_t>(length)));
}

World::World() : host_(host_name()) {
  int given = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &given), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  if (given < MPI_THREAD_MULTIPLE) {
    throw std::runtime_error(
        "MPI: gives no MPI_THREAD_MULTIPLE; use an MPI built with thread support (Open MPI 4 is)");
  }
  const int expected =
      std::max(number_in_environment("OMPI_COMM_WORLD_SIZE", 1), number_in_environment("SLURM_NTASKS", 1));
  const bool own_step =
      std::getenv("SLURM_STEP_ID") != nullptr || std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  if (size_ == 1 && expected > 1 && own_step) {
    throw std::runtime_error(
        "MPI: " + std::to_string(expected) +
        " processes were started, but each sees itself alone; start with mpirun, or with srun --mpi=pmix");
  }
  MPI_Comm local = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local),
            "MPI_Comm_split_type");
  MPI_Comm_size(local, &local_size_);
  check_mpi(MPI_Allreduce(&rank_, &node_, 1, MPI_INT, MPI_MIN, local), "MPI_Allreduce");
  MPI_Comm_free(&local);
}

World::~World() {
  // MPI_Finalize waits for the other ranks, and they may be waiting for this one: main has to abort instead.
  if (std::uncaught_exceptions() == 0) MPI_Finalize();
}

std::string World::broadcast(const std::string& text) const {
  unsigned long long length = text.size();
  check_mpi(MPI_Bcast(&length, 1, MPI_UNSIGNED_LONG_LONG, 0, MPI_COMM_WORLD), "MPI_Bcast");
  std::string result = text;
  result.resize(length);
  check_mpi(MPI_Bcast(result.data(), static_cast<int>(length), MPI_CHAR, 0, MPI_COMM_WORLD), "MPI_Bcast");
  return result;
}

int World::broadcast(int value) const {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&value, 1, MPI_INT, 0, MPI_COMM_WORLD, &request), "MPI_Ibcast");
  wait_politely(request);
  return value;
}

void World::barrier() const {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(MPI_COMM_WORLD, &request), "MPI_Ibarrier");
  wait_politely(request);
}

std::vector<std::string> World::gather(const std::string& text) const {
  const int length = static_cast<int>(text.size());
  std::vector<int> lengths(static_cast<size_t>(size_)), offsets(static_cast<size_t>(size_));
  check_mpi(MPI_Gather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, 0, MPI_COMM_WORLD), "MPI_Gather");
  int total = 0;
  for (size_t r = 0; r < lengths.size(); ++r) {
    offsets[r] = total;
    total += lengths[r];
  }
  std::string all(static_cast<size_t>(rank_ == 0 ? total : 0), '\0');
  check_mpi(MPI_Gatherv(text.data(), length, MPI_CHAR, all.data(), lengths.data(), offsets.data(), MPI_CHAR,
                        0, MPI_COMM_WORLD),
            "MPI_Gatherv");
  std::vector<std::string> texts;
  for (size_t r = 0; rank_ == 0 && r < lengths.size(); ++r) {
    texts.push_back(all.substr(static_cast<size_t>(offsets[r]), static_cast<size_t>(lengths[r])));
  }
  return texts;
}

std::vector<RankPlace> World::places() const {
  nlohmann::json gathered = nlohmann::json::array();
  for (const std::string& text : gather(nlohmann::json{node_, host_}.dump()))
    gathered.push_back(nlohmann::json::parse(text));
  std::vector<RankPlace> places;
  for (const auto& place : nlohmann::json::parse(broadcast(gathered.dump())))
    places.push_back({place.at(0), place.at(1)});
  return places;
}

void wait_politely(MPI_Request& request) {
  auto pause = std::chrono::microseconds(20);
  for (int done = 0;;) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(5000));
  }
}

int compute_threads(int local_size) {
  const int wanted = number_in_environment("OMP_NUM_THREADS", 0);
  if (wanted > 0) return wanted;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const int host_cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int bound = ::sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : host_cores;
  // Bound to less than the host: those cores are ours. Otherwise all local ranks share what is there.
  const int online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(1, bound < online ? bound : bound / local_size);
}

int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (std::getenv(name) != nullptr) return number_in_environment(name, 0);
  }
  return 0;
}

}  // namespace diffq
