#pragma once
// Groups of ranks of a real MPI world, for the tests that run under mpirun.

#include <memory>
#include <string>
#include <vector>

#include "launcher/mpi_communicator.h"

namespace diffq {

// This rank's part of the world, cut into groups of `size` ranks; all ranks are in one.
class Group {
 public:
  explicit Group(int size) {
    int world_rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    number_ = world_rank / size;
    MPI_Comm_split(MPI_COMM_WORLD, number_, world_rank, &mpi_);
    communicator_ = std::make_unique<MpiCommunicator>(mpi_, "host" + std::to_string(number_));
  }
  MpiCommunicator& operator*() { return *communicator_; }
  MpiCommunicator* operator->() { return communicator_.get(); }
  int number() const { return number_; }
  MPI_Comm mpi() const { return mpi_; }

 private:
  int number_ = 0;
  MPI_Comm mpi_ = MPI_COMM_NULL;
  std::unique_ptr<MpiCommunicator> communicator_;
};

inline int world_size() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

// Group sizes that this world can be cut into.
inline std::vector<int> group_sizes() {
  std::vector<int> sizes;
  for (const int size : {1, 2, 4}) {
    if (world_size() % size == 0) sizes.push_back(size);
  }
  return sizes;
}

}  // namespace diffq
