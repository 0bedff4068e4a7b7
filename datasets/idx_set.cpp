#include "datasets/idx_set.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "datasets/fail.h"
#include "datasets/fingerprint.h"
#include "datasets/idx.h"

namespace diffq {
namespace {

constexpr std::array<int, 2> kImageDimensions{3, 4};  // [n, h, w] grey, [n, c, h, w]
constexpr std::array<int, 1> kLabelDimensions{1};

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

// One part and the file of its labels, which messages name beside that of its pictures.
struct Part {
  Pictures pictures;
  std::string labels_path;
};

Part read_part(const FilePair& paths, Keep keep) {
  IdxFile images = keep == Keep::all ? read_idx(paths.images, kImageDimensions)
                                     : check_idx(paths.images, kImageDimensions);
  IdxFile labels = read_idx(paths.labels, kLabelDimensions);
  const int64_t count = images.dims[0];
  if (count != labels.dims[0]) {
    fail(labels.path, "holds " + std::to_string(labels.dims[0]) + " labels, but " + images.path + " has " +
                          std::to_string(count) + " images; there must be as many labels as images");
  }
  if (images.dims.size() == 3) images.dims.insert(images.dims.begin() + 1, 1);
  return {{images.path, count, images.dims[1], images.dims[2], images.dims[3], std::move(images.bytes),
           std::move(labels.bytes)},
          labels.path};
}

void check_labels(const Part& part, int64_t classes, const std::string& because) {
  const std::vector<uint8_t>& labels = part.pictures.labels;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= classes) {
      fail(part.labels_path, "label " + std::to_string(labels[i]) + " of sample " + std::to_string(i) +
                                 " is not below " + std::to_string(classes) + ", the number of classes" +
                                 because);
    }
  }
}

void check_mnist(const Part& part, int64_t count) {
  const Pictures& pictures = part.pictures;
  if (pictures.count != count || pictures.channels != 1 || pictures.height != 28 || pictures.width != 28) {
    fail(pictures.path, "holds " + std::to_string(pictures.count) + " images of " + size_text(pictures) +
                            ", MNIST has " + std::to_string(count) +
                            " of 28 x 28; for other images use data.name \"idx\"");
  }
  check_labels(part, 10, " of MNIST; for other images use data.name \"idx\"");
}

void check_same_size(const Pictures& train, const Pictures& test) {
  if (train.channels == test.channels && train.height == test.height && train.width == test.width) return;
  fail(test.path, "holds images of " + size_text(test) + ", but those of " + train.path + " are " +
                      size_text(train) + "; they must be equal");
}

}  // namespace

std::string idx_set_fingerprint(const DataSpec& spec) {
  const FilePaths paths = find_files(spec);
  const std::array all{paths.train.images, paths.train.labels, paths.test.images, paths.test.labels};
  return fingerprint_files(all);
}

ImageSet read_idx_set(const DataSpec& spec, Keep keep) {
  const FilePaths paths = find_files(spec);
  Part train = read_part(paths.train, keep), test = read_part(paths.test, keep);
  if (spec.name == DataName::mnist) {
    check_mnist(train, 60000);
    check_mnist(test, 10000);
  }
  check_same_size(train.pictures, test.pictures);
  const int64_t classes = int64_t{*std::ranges::max_element(train.pictures.labels)} + 1;
  check_labels(test, classes, " in " + train.labels_path + " (its largest label + 1)");
  return {std::move(train.pictures), std::move(test.pictures), classes};
}

}  // namespace diffq
