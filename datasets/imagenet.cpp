#include "datasets/imagenet.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "datasets/class_index.h"
#include "datasets/codecs/jpeg.h"
#include "datasets/data_format.h"
#include "datasets/fail.h"
#include "datasets/fingerprint.h"
#include "datasets/order.h"
#include "datasets/photo_dataset.h"

namespace diffq {
namespace {

constexpr uint64_t kOrderSeed = 0x696e646578;  // "index": not the user's seed, all runs share their splits

// All files in an order of which every beginning and every end holds each class in proportion (but for one
// file): in a class they are shuffled, then the k-th of n files of a class stands at (k + 1/2) / n. A
// function of the number of files in each class alone.
std::vector<int64_t> balanced_order(const PictureFiles& part, int64_t classes) {
  struct Standing {
    int64_t odd, count, file;  // at odd / (2 count)
  };
  std::vector<Standing> all;
  all.reserve(part.count());
  for (int64_t label = 0; label < classes; ++label) {
    const int64_t begin = part.class_begin(label), count = part.class_end(label) - begin;
    const std::vector<int64_t> shuffled = epoch_order(count, kOrderSeed, label);
    for (int64_t k = 0; k < count; ++k) all.push_back({2 * k + 1, count, begin + shuffled[k]});
  }
  std::ranges::stable_sort(
      all, [](const Standing& a, const Standing& b) { return a.odd * b.count < b.odd * a.count; });
  std::vector<int64_t> order;
  order.reserve(all.size());
  for (const Standing& standing : all) order.push_back(standing.file);
  return order;
}

void check_photos(const PhotoSpec& photos) {
  if (photos.crop < 1) fail("data.augment.crop", std::to_string(photos.crop) + " is below 1; 224 is usual");
  if (photos.resize < photos.crop) {
    fail("data.augment.crop", std::to_string(photos.crop) + " is more than data.augment.resize, " +
                                  std::to_string(photos.resize) +
                                  "; the centre is cut out of what was resized");
  }
}

DataSummary summarise(const DataSpec& spec, const ClassFolders& folders) {
  check_photos(spec.photos);
  check_not_negative("data.max_corrupt", spec.max_corrupt);
  DataSummary summary =
      divide(spec, {folders.train.count(), spec.root + "/train"}, {folders.val.count(), spec.root + "/val"});
  summary.shape =
      ImageShape{3, spec.photos.crop, spec.photos.crop, static_cast<int64_t>(folders.classes.size())};
  return summary;
}

// A few broken files may be; that none can be read means that something else is wrong.
void check_headers(const ClassFolders& folders) {
  const std::vector<std::filesystem::path> paths = sampled_files(folders);
  std::string first;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail(path.string(), "can't be read; check its permissions");
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    try {
      JpegReader jpeg(bytes);
      return;
    } catch (const JpegError& error) {
      if (first.empty()) first = error.what();
    }
  }
  fail(paths.front().string(), first + "; none of " + std::to_string(paths.size()) +
                                   " files looked at can be decoded; all must be JPEG files");
}

}  // namespace

DataSummary check_imagenet(const DataSpec& spec) {
  const ClassFolders folders = open_class_folders(spec.root);
  const DataSummary summary = summarise(spec, folders);
  check_headers(folders);
  return summary;
}

DataSplits open_imagenet(const DataSpec& spec) {
  const auto folders = std::make_shared<const ClassFolders>(open_class_folders(spec.root));
  const DataSummary summary = summarise(spec, *folders);
  check_headers(*folders);
  const auto corrupt = std::make_shared<CorruptFiles>(spec.max_corrupt);
  const auto classes = static_cast<int64_t>(folders->classes.size());
  const std::vector<int64_t> train = balanced_order(folders->train, classes);
  const std::vector<int64_t> test = balanced_order(folders->val, classes);
  const auto part = [&](const PictureFiles& files, auto begin, auto end) {
    return std::make_shared<const PhotoDataset>(folders, files, std::vector<int64_t>(begin, end), spec.photos,
                                                corrupt);
  };
  return {summary.shape, part(folders->train, train.begin(), train.begin() + summary.train),
          part(folders->train, train.end() - summary.valid, train.end()),
          part(folders->val, test.begin(), test.begin() + summary.test)};
}

std::string imagenet_fingerprint(const DataSpec& spec) {
  const ClassFolders folders = open_class_folders(spec.root);
  std::vector<std::string> sampled;
  for (const auto& path : sampled_files(folders)) sampled.push_back(path.string());
  std::string text = fingerprint_files(sampled);
  for (const PictureFiles* part : {&folders.train, &folders.val}) {
    for (int64_t file = 0; file < part->count(); ++file)
      text += '\n' + folders.relative_path(*part, file) + '\n' + std::to_string(part->bytes(file));
  }
  return fingerprint_text(text);
}

}  // namespace diffq
