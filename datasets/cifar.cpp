#include "datasets/cifar.h"

#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>

#include "datasets/fail.h"

namespace diffq {
namespace {

constexpr int64_t kChannels = 3, kSide = 32, kPixels = kChannels * kSide * kSide;

struct CifarKind {
  std::string name, folder, archive;
  std::vector<std::string> train;
  std::string test;
  std::vector<int> classes;  ///< of each label byte of a record; the last one is what is learnt

  int64_t label_bytes() const { return static_cast<int64_t>(classes.size()); }
  int64_t record_bytes() const { return label_bytes() + kPixels; }
};

CifarKind kind_of(const DataSpec& spec) {
  if (spec.name == DataName::cifar100) {
    return {"cifar100", "cifar-100-binary", "cifar-100-binary.tar.gz", {"train.bin"}, "test.bin", {20, 100}};
  }
  return {
      "cifar10",
      "cifar-10-batches-bin",
      "cifar-10-binary.tar.gz",
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      "test_batch.bin",
      {10}};
}

std::string remedy(const CifarKind& kind) {
  return kind.name + " is the folder " + kind.folder + " of " + kind.archive +
         " (https://www.cs.toronto.edu/~kriz/cifar.html), unpacked; data.root names it or the folder that "
         "holds it";
}

std::filesystem::path folder_of(const DataSpec& spec, const CifarKind& kind) {
  std::error_code error;
  const std::filesystem::path root = spec.root;
  if (spec.root.empty()) fail("data.root", "is empty; " + remedy(kind));
  if (std::filesystem::is_directory(root / kind.folder, error)) return root / kind.folder;
  if (!std::filesystem::is_directory(root, error))
    fail(spec.root, "there is no such folder; " + remedy(kind));
  const std::filesystem::path archive = root / kind.archive;
  if (!std::filesystem::exists(root / kind.test, error) && std::filesystem::exists(archive, error)) {
    fail(archive.string(), "is not unpacked; run: tar -xzf " + archive.string() + " -C " + spec.root);
  }
  return root;
}

// The files to train on, then the one to test on.
std::vector<std::string> find_files(const DataSpec& spec, const CifarKind& kind) {
  const std::filesystem::path folder = folder_of(spec, kind);
  std::vector<std::string> names = kind.train, paths;
  names.push_back(kind.test);
  for (const std::string& name : names) {
    std::error_code error;
    const std::string path = (folder / name).string();
    if (!std::filesystem::exists(path, error)) fail(path, "there is no such file; " + remedy(kind));
    if (!std::filesystem::is_regular_file(path, error)) fail(path, "is not a file");
    paths.push_back(path);
  }
  return paths;
}

int64_t count_records(const std::string& path, const CifarKind& kind) {
  std::error_code error;
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) fail(path, "can't be read (" + error.message() + ")");
  if (bytes == 0 || bytes % kind.record_bytes() != 0) {
    fail(path, "has " + std::to_string(bytes) + " bytes; a file of " + kind.name + " has a multiple of " +
                   std::to_string(kind.record_bytes()) + " (" + std::to_string(kind.label_bytes()) +
                   " for the label, " + std::to_string(kPixels) + " for the pixels); fetch or copy it again");
  }
  return bytes / kind.record_bytes();
}

void append_records(const std::string& path, int64_t count, const CifarKind& kind, Keep keep,
                    Pictures& part) {
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> record(kind.record_bytes());
  for (int64_t i = 0; i < count; ++i) {
    if (!file.read(reinterpret_cast<char*>(record.data()), kind.record_bytes()))
      fail(path, "can't be read; check its permissions");
    for (int64_t k = 0; k < kind.label_bytes(); ++k) {
      if (record[k] >= kind.classes[k]) {
        fail(path, "label " + std::to_string(record[k]) + " of record " + std::to_string(i) +
                       " is not below " + std::to_string(kind.classes[k]) +
                       ", the number of classes; it is damaged or not of " + kind.name);
      }
    }
    part.labels.push_back(record[kind.label_bytes() - 1]);
    if (keep == Keep::all)
      part.pixels.insert(part.pixels.end(), record.begin() + kind.label_bytes(), record.end());
  }
}

Pictures read_part(std::span<const std::string> paths, const CifarKind& kind, Keep keep) {
  Pictures part;
  part.path = paths.front();
  if (paths.size() > 1) part.path += " to " + std::filesystem::path(paths.back()).filename().string();
  part.channels = kChannels;
  part.height = part.width = kSide;
  std::vector<int64_t> counts;
  for (const std::string& path : paths) counts.push_back(count_records(path, kind));
  part.count = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  if (keep == Keep::all) part.pixels.reserve(part.count * kPixels);
  for (size_t i = 0; i < paths.size(); ++i) append_records(paths[i], counts[i], kind, keep, part);
  return part;
}

}  // namespace

std::vector<std::string> cifar_files(const DataSpec& spec) { return find_files(spec, kind_of(spec)); }

ImageSet read_cifar(const DataSpec& spec, Keep keep) {
  const CifarKind kind = kind_of(spec);
  const std::vector<std::string> paths = find_files(spec, kind);
  const std::span<const std::string> all = paths;
  return {read_part(all.first(all.size() - 1), kind, keep), read_part(all.last(1), kind, keep),
          kind.classes.back()};
}

}  // namespace diffq
