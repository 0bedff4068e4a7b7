#pragma once
// Photos in JPEG files of any size, decoded when they are asked for and given out as normalised float32.

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "datasets/bitmap.h"
#include "datasets/buffer_pool.h"
#include "datasets/class_folders.h"
#include "datasets/dataset.h"

namespace diffq {

/// Files that can't be decoded: each is reported once, and too many are an error. Thread-safe.
class CorruptFiles {
 public:
  explicit CorruptFiles(int64_t most) : most_(most) {}
  /// Throws std::runtime_error when these are more than `most` files.
  void add(const std::string& path, const std::string& what);

 private:
  const int64_t most_;
  std::mutex mutex_;
  std::set<std::string> paths_;
};

class PhotoDataset : public Dataset {
 public:
  /// Sample i is file order[i] of `part` (a member of `folders`). Where that can't be decoded it is the next
  /// file of its class that can.
  PhotoDataset(std::shared_ptr<const ClassFolders> folders, const PictureFiles& part,
               std::vector<int64_t> order, const PhotoSpec& photos, std::shared_ptr<CorruptFiles> corrupt);

  int64_t size() const override { return static_cast<int64_t>(order_.size()); }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;

 private:
  struct Scratch {
    std::vector<uint8_t> file;
    Bitmap decoded, resized, room;
  };
  void write_sample(int64_t sample, const std::optional<AugmentKey>& augment, Scratch& scratch,
                    float* out) const;
  void write_file(int64_t file, int64_t sample, const std::optional<AugmentKey>& augment, Scratch& scratch,
                  float* out) const;

  std::shared_ptr<const ClassFolders> folders_;
  const PictureFiles& part_;
  std::vector<int64_t> order_;
  PhotoSpec photos_;
  std::shared_ptr<CorruptFiles> corrupt_;
  std::shared_ptr<BufferPool> buffers_ = std::make_shared<BufferPool>();
};

}  // namespace diffq
