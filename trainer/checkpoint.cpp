#include "trainer/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "results/durable_file.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "checkpoint-", kSuffix = ".safetensors";
constexpr size_t kKept = 2;

/// The step in a checkpoint's name, or -1 when it is no such name.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return -1;
  const char* digits = name.data() + kPrefix.size();
  const char* end = name.data() + name.size() - kSuffix.size();
  int64_t step = -1;
  const auto [stopped, error] = std::from_chars(digits, end, step);
  return error == std::errc() && stopped == end ? step : -1;
}

}  // namespace

void write_checkpoint(const fs::path& folder, const Snapshot& snapshot) {
  std::vector<TensorToWrite> tensors;
  for (const Snapshot::Tensor& tensor : snapshot.tensors) {
    const std::span<const uint8_t> bytes(snapshot.memory.data() + tensor.offset, tensor.size);
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.size, [bytes] { return bytes; }});
  }
  const std::string name = std::string(kPrefix) + std::to_string(snapshot.step) + std::string(kSuffix);
  replace_file(folder / name,
               [&](const fs::path& temporary) { write_safetensors(temporary, snapshot.metadata, tensors); });
  const std::vector<CheckpointFile> files = list_checkpoints(folder);
  std::error_code ignored;
  for (size_t i = kKept; i < files.size(); ++i) fs::remove(files[i].path, ignored);
}

CheckpointWriter::CheckpointWriter(fs::path folder)
    : folder_(std::move(folder)), thread_([this] { work(); }) {}

CheckpointWriter::~CheckpointWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool CheckpointWriter::busy() const {
  const std::lock_guard lock(mutex_);
  return writing_;
}

void CheckpointWriter::write(const std::function<void(Snapshot&)>& fill) {
  wait();
  fill(snapshot_);  // the thread touches it only while writing_ is set
  {
    const std::lock_guard lock(mutex_);
    writing_ = true;
  }
  changed_.notify_all();
}

void CheckpointWriter::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !writing_; });
}

std::string CheckpointWriter::take_problem() {
  const std::lock_guard lock(mutex_);
  return std::exchange(problem_, "");
}

void CheckpointWriter::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return writing_ || stopping_; });
    if (!writing_) return;
    lock.unlock();
    std::string problem;
    try {
      write_checkpoint(folder_, snapshot_);
    } catch (const std::exception& error) {
      problem = error.what();
    }
    lock.lock();
    if (!problem.empty()) problem_ = problem;
    writing_ = false;
    changed_.notify_all();
  }
}

std::vector<CheckpointFile> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointFile> files;
  std::error_code none;
  for (const auto& file : fs::directory_iterator(folder, none)) {
    const int64_t step = step_of(file.path().filename());
    if (step >= 0) files.push_back({step, file.path()});
  }
  std::ranges::sort(files, std::ranges::greater{}, &CheckpointFile::step);
  return files;
}

void remove_checkpoints(const fs::path& folder) {
  std::error_code ignored;
  for (const CheckpointFile& file : list_checkpoints(folder)) fs::remove(file.path, ignored);
}

SafetensorsFile read_checkpoint(const fs::path& path) {
  SafetensorsFile file = read_safetensors(path);
  try {
    if (!file.metadata.contains(kChecksumKey)) throw DamagedFile("has no checksum");
    check_checksum(file);
  } catch (const DamagedFile& error) {
    throw DamagedFile(path.string() + ": " + error.what());
  }
  return file;
}

}  // namespace diffq
