#include "datasets/dataset.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <stdexcept>
#include <utility>
#include <vector>

#include "datasets/fingerprint.h"
#include "datasets/idx.h"
#include "datasets/image_dataset.h"

namespace diffq {
namespace {

constexpr std::array<int, 2> kImageDimensions{3, 4};  // [n, h, w] grey, [n, c, h, w]
constexpr std::array<int, 1> kLabelDimensions{1};

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

// --- which files ---

std::string remedy(const DataSpec& spec) {
  if (spec.name == DataName::mnist) return "run scripts/setup.sh --data to fetch MNIST, or correct data.root";
  return "an idx data set is the files train-images-idx3-ubyte, train-labels-idx1-ubyte, "
         "t10k-images-idx3-ubyte and "
         "t10k-labels-idx1-ubyte (idx4 for images with channels; each plain or with .gz) in data.root";
}

struct FilePair {
  std::string images, labels;
};

std::string find_file(const DataSpec& spec, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (const char* ending : {"", ".gz"}) {
      const std::filesystem::path path = std::filesystem::path(spec.root) / (name + ending);
      std::error_code error;
      if (std::filesystem::exists(path, error)) return path.string();
    }
  }
  fail((std::filesystem::path(spec.root) / names.front()).string() + "[.gz]",
       "there is no such file; " + remedy(spec));
}

FilePair find_pair(const DataSpec& spec, const std::string& part) {
  return {find_file(spec, {part + "-images-idx3-ubyte", part + "-images-idx4-ubyte"}),
          find_file(spec, {part + "-labels-idx1-ubyte"})};
}

struct FilePaths {
  FilePair train, test;
};

FilePaths find_files(const DataSpec& spec) {
  std::error_code error;
  if (spec.root.empty()) fail("data.root", "is empty; " + remedy(spec));
  if (!std::filesystem::is_directory(spec.root, error))
    fail(spec.root, "there is no such folder; " + remedy(spec));
  return {find_pair(spec, "train"), find_pair(spec, "t10k")};
}

// --- what they hold ---

struct LabelledImages {
  IdxFile images, labels;
};

struct ImageFiles {
  LabelledImages train, test;
};

enum class Keep { labels, all };

ImageFiles read_files(const DataSpec& spec, Keep keep) {
  const auto read_pair = [&](const FilePair& paths) {
    return LabelledImages{keep == Keep::all ? read_idx(paths.images, kImageDimensions)
                                            : check_idx(paths.images, kImageDimensions),
                          read_idx(paths.labels, kLabelDimensions)};
  };
  const FilePaths paths = find_files(spec);
  return {read_pair(paths.train), read_pair(paths.test)};
}

ImageShape shape_of(const IdxFile& images) {
  const auto& dims = images.dims;
  if (dims.size() == 3) return {1, dims[1], dims[2], 0};
  return {dims[1], dims[2], dims[3], 0};
}

std::string to_text(const ImageShape& shape) {
  const std::string size = std::to_string(shape.height) + " x " + std::to_string(shape.width);
  return shape.channels == 1 ? size : std::to_string(shape.channels) + " x " + size;
}

bool same_size(const ImageShape& a, const ImageShape& b) {
  return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

void check_counts(const LabelledImages& part) {
  const int64_t images = part.images.dims[0], labels = part.labels.dims[0];
  if (images != labels) {
    fail(part.labels.path, "holds " + std::to_string(labels) + " labels, but " + part.images.path + " has " +
                               std::to_string(images) + " images; there must be as many labels as images");
  }
}

void check_labels(const IdxFile& labels, int64_t classes, const std::string& because) {
  for (size_t i = 0; i < labels.bytes.size(); ++i) {
    if (labels.bytes[i] >= classes) {
      fail(labels.path, "label " + std::to_string(labels.bytes[i]) + " of sample " + std::to_string(i) +
                            " is not below " + std::to_string(classes) + ", the number of classes" + because);
    }
  }
}

void check_mnist(const LabelledImages& part, int64_t count) {
  const ImageShape shape = shape_of(part.images);
  if (part.images.dims[0] != count || !same_size(shape, {1, 28, 28, 0})) {
    fail(part.images.path, "holds " + std::to_string(part.images.dims[0]) + " images of " + to_text(shape) +
                               ", MNIST has " + std::to_string(count) +
                               " of 28 x 28; for other images use data.name \"idx\"");
  }
  check_labels(part.labels, 10, " of MNIST; for other images use data.name \"idx\"");
}

// The shape of the images in the files, all of which fit together.
ImageShape check_files(const DataSpec& spec, const ImageFiles& files) {
  check_counts(files.train);
  check_counts(files.test);
  if (spec.name == DataName::mnist) {
    check_mnist(files.train, 60000);
    check_mnist(files.test, 10000);
  }
  ImageShape shape = shape_of(files.train.images);
  if (!same_size(shape, shape_of(files.test.images))) {
    fail(files.test.images.path, "holds images of " + to_text(shape_of(files.test.images)) +
                                     ", but those of " + files.train.images.path + " are " + to_text(shape) +
                                     "; they must be equal");
  }
  shape.classes = int64_t{*std::ranges::max_element(files.train.labels.bytes)} + 1;
  check_labels(files.test.labels, shape.classes,
               " in " + files.train.labels.path + " (its largest label + 1)");
  return shape;
}

// --- what was asked of them ---

void check_not_negative(const std::string& key, int64_t value) {
  if (value < 0) fail(key, std::to_string(value) + " is negative; it must be 0 or more");
}

// How many of `there` samples are used when `asked` (0: all) were asked for.
int64_t limited(const std::string& key, int64_t asked, int64_t there, const std::string& of) {
  check_not_negative(key, asked);
  if (asked > there) {
    fail(key, std::to_string(asked) + " samples were asked for, but there are " + std::to_string(there) +
                  " in " + of + "; ask for at most so many, or 0 for all");
  }
  return asked == 0 ? there : asked;
}

void check_augment(const AugmentSpec& augment, const ImageShape& shape) {
  check_not_negative("data.augment.shift", augment.shift);
  check_not_negative("data.augment.crop", augment.crop);
  const int64_t side = std::min(shape.height, shape.width);
  if (augment.shift >= side) {
    fail("data.augment.shift", std::to_string(augment.shift) + " pixels would shift images of " +
                                   to_text(shape) + " out of sight; it must be below " +
                                   std::to_string(side));
  }
  if (augment.crop > side) {
    fail("data.augment.crop", std::to_string(augment.crop) + " is larger than the images of " +
                                  to_text(shape) + "; it must be at most " + std::to_string(side) +
                                  ", or 0 for no cut");
  }
}

DataSummary summarise(const DataSpec& spec, const ImageFiles& files) {
  DataSummary summary;
  summary.shape = check_files(spec, files);
  check_augment(spec.augment, summary.shape);
  const int64_t there = files.train.images.dims[0];
  check_not_negative("data.valid_samples", spec.valid_samples);
  if (spec.valid_samples >= there) {
    fail("data.valid_samples", std::to_string(spec.valid_samples) + " samples can't be held out of the " +
                                   std::to_string(there) + " in " + files.train.images.path + "; at most " +
                                   std::to_string(there - 1) + " leave something to train on");
  }
  summary.valid = spec.valid_samples;
  summary.train =
      limited("data.train_samples", spec.train_samples, there - summary.valid,
              files.train.images.path + " besides the " + std::to_string(summary.valid) + " held out");
  summary.test =
      limited("data.test_samples", spec.test_samples, files.test.images.dims[0], files.test.images.path);
  if (spec.augment.crop != 0) summary.shape.height = summary.shape.width = spec.augment.crop;
  return summary;
}

std::shared_ptr<const Pictures> take_pictures(LabelledImages&& part) {
  const ImageShape shape = shape_of(part.images);
  return std::make_shared<const Pictures>(Pictures{part.images.path, part.images.dims[0], shape.channels,
                                                   shape.height, shape.width, std::move(part.images.bytes),
                                                   std::move(part.labels.bytes)});
}

}  // namespace

DataSummary check_data(const DataSpec& spec) { return summarise(spec, read_files(spec, Keep::labels)); }

DataSplits open_data(const DataSpec& spec) {
  ImageFiles files = read_files(spec, Keep::all);
  const DataSummary summary = summarise(spec, files);
  const auto train = take_pictures(std::move(files.train));
  const auto test = take_pictures(std::move(files.test));
  const std::vector<float> table = normalisation_table(*train, summary.train);
  const auto part = [&](const std::shared_ptr<const Pictures>& pictures, int64_t first, int64_t count) {
    return std::make_shared<const ImageDataset>(pictures, first, count, table, spec.augment);
  };
  return {summary.shape, part(train, 0, summary.train),
          part(train, train->count - summary.valid, summary.valid), part(test, 0, summary.test)};
}

std::string fingerprint(const DataSpec& spec) {
  const FilePaths files = find_files(spec);
  return fingerprint_files(
      std::array{files.train.images, files.train.labels, files.test.images, files.test.labels});
}

}  // namespace diffq
