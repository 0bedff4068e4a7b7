#pragma once
// Checkpoints of a run as files: `checkpoint-<step>.safetensors` in the run's folder, each replaced as a
// whole and with a checksum, the last two kept. The trainer copies its state at a step boundary; a thread
// writes the copy, and knows nothing of torch, MPI or CUDA. What is in them: trainer/training_state.h.

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "quant/safetensors.h"

namespace diffq {

/// A copy of a training's state, between two steps.
struct Snapshot {
  struct Tensor {
    std::string name, dtype;  ///< dtype as safetensors have it
    std::vector<int64_t> shape;
    size_t offset = 0, size = 0;  ///< bytes of `memory`
  };
  int64_t step = 0;  ///< steps taken since the run began
  Metadata metadata;
  std::vector<Tensor> tensors;
  std::vector<uint8_t> memory;
};

/// Writes the snapshot's file in `folder`, then removes all but the last two. Throws std::runtime_error
/// naming the path.
void write_checkpoint(const std::filesystem::path& folder, const Snapshot& snapshot);

/// The thread that writes. At most one snapshot is on its way.
class CheckpointWriter {
 public:
  explicit CheckpointWriter(std::filesystem::path folder);
  ~CheckpointWriter();  ///< when the snapshot on its way is written
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  bool busy() const;
  /// Waits for the one before, calls `fill` on the calling thread and returns; the file comes later.
  void write(const std::function<void(Snapshot&)>& fill);
  /// Returns when nothing is on its way.
  void wait();
  /// Why a checkpoint could not be written (the ones before it stay), told once; empty when all is well.
  std::string take_problem();

 private:
  void work();

  std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Snapshot snapshot_;  ///< its memory is used again and again
  bool writing_ = false, stopping_ = false;
  std::string problem_;
  std::thread thread_;
};

struct CheckpointFile {
  int64_t step = 0;
  std::filesystem::path path;
};
/// The checkpoints of a run's folder, newest first; none if there is no such folder.
std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder);
void remove_checkpoints(const std::filesystem::path& folder);

/// Reads a checkpoint and sees that it is whole. Throws DamagedFile or std::invalid_argument naming the path.
SafetensorsFile read_checkpoint(const std::filesystem::path& path);

}  // namespace diffq
