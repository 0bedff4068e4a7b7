#include "launcher/mpi_communicator.h"

#include <chrono>
#include <limits>

#include "launcher/world.h"

namespace diffq {

MpiCommunicator::MpiCommunicator(MPI_Comm communicator, std::string host)
    : communicator_(communicator), host_(std::move(host)) {
  MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(communicator_, &rank_);
  MPI_Comm_size(communicator_, &size_);
  if (size_ > 1) thread_ = std::thread([this] { progress(); });
}

MpiCommunicator::~MpiCommunicator() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  MPI_Comm_free(&communicator_);
}

void MpiCommunicator::start_sum(const at::Tensor& bucket) {
  if (size_ == 1) return;
  TORCH_CHECK(bucket.is_contiguous() && bucket.scalar_type() == at::kFloat && bucket.is_cpu());
  TORCH_CHECK(bucket.numel() <= std::numeric_limits<int>::max(), "bucket of 2^31 or more entries");
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(MPI_IN_PLACE, bucket.mutable_data_ptr<float>(), static_cast<int>(bucket.numel()),
                           MPI_FLOAT, MPI_SUM, communicator_, &request),
            "MPI_Iallreduce");
  {
    const std::lock_guard lock(mutex_);
    pending_.push_back(request);
  }
  changed_.notify_all();
}

// With mutex_ held. Whether all started sums are complete.
bool MpiCommunicator::test_pending() {
  int done = 1;
  if (!pending_.empty()) {
    check_mpi(MPI_Testall(static_cast<int>(pending_.size()), pending_.data(), &done, MPI_STATUSES_IGNORE),
              "MPI_Testall");
  }
  if (done != 0) pending_.clear();
  return done != 0;
}

void MpiCommunicator::progress() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || (!pending_.empty() && !error_); });
    if (stopping_) return;
    try {
      test_pending();
    } catch (...) {
      error_ = std::current_exception();
    }
    // Often enough to keep the sums moving, seldom enough to leave the core to backward.
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    lock.lock();
  }
}

void MpiCommunicator::wait() {
  if (size_ == 1) return;
  for (int turn = 0;; ++turn) {
    {
      const std::lock_guard lock(mutex_);
      if (error_) std::rethrow_exception(error_);
      if (test_pending()) return;
    }
    // The other ranks are about to arrive; should one take long, leave the core to it.
    if (turn < 2000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
}

void MpiCommunicator::broadcast(const at::Tensor& tensor) {
  if (size_ == 1) return;
  TORCH_CHECK(tensor.is_contiguous() && tensor.is_cpu());
  char* bytes = static_cast<char*>(tensor.mutable_data_ptr());
  constexpr int64_t kPiece = 1 << 30;
  for (int64_t at = 0, total = static_cast<int64_t>(tensor.nbytes()); at < total; at += kPiece) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(bytes + at, static_cast<int>(std::min(kPiece, total - at)), MPI_BYTE, 0,
                         communicator_, &request),
              "MPI_Ibcast");
    wait_politely(request);
  }
}

int MpiCommunicator::broadcast(int value) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&value, 1, MPI_INT, 0, communicator_, &request), "MPI_Ibcast");
  wait_politely(request);
  return value;
}

void MpiCommunicator::sum(std::span<double> values) {
  if (size_ == 1) return;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_DOUBLE, MPI_SUM,
                           communicator_, &request),
            "MPI_Iallreduce");
  wait_politely(request);
}

std::string MpiCommunicator::first_failure(const std::string& mine) {
  if (size_ == 1) return mine;
  int lowest = mine.empty() ? size_ : rank_;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, communicator_, &request),
            "MPI_Iallreduce");
  wait_politely(request);
  if (lowest == size_) return "";
  std::string text =
      "[rank " + std::to_string(rank_) + "/" + std::to_string(size_) + " " + host_ + "] " + mine;
  unsigned long long length = text.size();
  check_mpi(MPI_Bcast(&length, 1, MPI_UNSIGNED_LONG_LONG, lowest, communicator_), "MPI_Bcast");
  text.resize(length);
  check_mpi(MPI_Bcast(text.data(), static_cast<int>(length), MPI_CHAR, lowest, communicator_), "MPI_Bcast");
  return text;
}

}  // namespace diffq
