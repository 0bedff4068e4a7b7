#pragma once
// Samples by index: what every data set looks like to the loader. Reading is thread-safe; a sample's
// augmentation is a function of (seed, epoch, sample) alone, so that order, ranks and workers change nothing.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "datasets/data_spec.h"

namespace diffq {

/// Pictures: input float32 [samples, channels, height, width], target int64 [samples]. Text: both int64
/// [samples, block]; the target of a place is the token after it, or kNoTarget where it does not count.
/// Music: input float32 [samples, channels, time], the mixture; target [samples, stems, channels, time].
inline constexpr int64_t kNoTarget = -100;
struct Batch {
  at::Tensor input;
  at::Tensor target;
};

/// Names the random choices of one epoch; absent in evaluation.
struct AugmentKey {
  uint64_t seed = 0;
  int64_t epoch = 0;
};

/// Copy k of sample i, augmented by itself, is sample i + k * kCopyStride to a data set that can augment.
inline constexpr int64_t kCopyStride = int64_t{1} << 40;

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// The samples of these indices, in this order; augmented when a key is given. Thread-safe.
  /// Throws std::runtime_error that names the file and sample when one can't be read.
  virtual Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const = 0;
};

/// What a model needs to know of its data; pictures: after cropping.
struct ImageShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t classes = 0;
};
/// Tokens are numbered from 0, the more frequent first (after two of ours).
struct TextShape {
  int64_t vocabulary = 0;
  int64_t block = 0;
};
/// Training and held-out samples are segments, each track's mixture with mean 0 and deviation 1; test samples
/// are whole tracks as they are, to be taken one at a time.
struct MusicShape {
  int64_t channels = 0;
  int64_t rate = 0;                      ///< frames a second
  int64_t segment = 0;                   ///< frames
  std::vector<std::string> stems = {};   ///< what a mixture is the sum of
  std::vector<std::string> tracks = {};  ///< of the test set
};
using DataShape = std::variant<ImageShape, TextShape, MusicShape>;

struct DataSplits {
  DataShape shape;
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> valid;  ///< held out of the training set: what choices are made on
  std::shared_ptr<const Dataset> test;   ///< reported, never used to choose
};

/// Sizes without reading all data: headers only.
struct DataSummary {
  DataShape shape;
  int64_t train = 0, valid = 0, test = 0;
};

/// Checks that all files are there, whole and of the right kind and that they hold what the spec asks for.
/// Reads headers and labels; compressed files are decompressed once (MNIST: 0.2 s), CIFAR's, where labels
/// stand between the images, are read through; the images of plain IDX files are not read. Text is made into
/// tokens once and kept (token_file.h). Throws
/// std::invalid_argument "FILE: what is wrong; what would be right".
DataSummary check_data(const DataSpec& spec);
/// Reads the data. Errors as check_data.
DataSplits open_data(const DataSpec& spec);
/// Identifies the content: names and sizes of all files used, sums of small ones and of the first and last 64
/// KiB of large ones; 16 hex digits. Paths are not part of it. Errors as check_data for files that are
/// missing or can't be read; what is in them is not judged here.
std::string fingerprint(const DataSpec& spec);

}  // namespace diffq
