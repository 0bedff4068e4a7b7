#include "datasets/cifar.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>

#include "datasets/codecs/archive.h"
#include "datasets/fail.h"
#include "datasets/fingerprint.h"

namespace diffq {
namespace {

constexpr int64_t kChannels = 3, kSide = 32, kPixels = kChannels * kSide * kSide;

struct CifarKind {
  std::string name, folder;
  std::string archive;  ///< as distributed with .gz behind
  std::vector<std::string> train;
  std::string test;
  std::vector<int> classes;  ///< of each label byte of a record; the last one is what is learnt

  int64_t label_bytes() const { return static_cast<int64_t>(classes.size()); }
  int64_t record_bytes() const { return label_bytes() + kPixels; }
};

CifarKind kind_of(const DataSpec& spec) {
  if (spec.name == DataName::cifar100) {
    return {"cifar100", "cifar-100-binary", "cifar-100-binary.tar", {"train.bin"}, "test.bin", {20, 100}};
  }
  return {
      "cifar10",
      "cifar-10-batches-bin",
      "cifar-10-binary.tar",
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      "test_batch.bin",
      {10}};
}

std::string remedy(const CifarKind& kind) {
  return kind.name + " is the archive " + kind.archive +
         ".gz (https://www.cs.toronto.edu/~kriz/cifar.html) or the folder " + kind.folder +
         " out of it; data.root names the folder that holds either, or that folder";
}

// One of the binary files, on disk or in the archive.
struct CifarFile {
  std::string path;  ///< for messages
  std::vector<uint8_t> bytes;
};

std::vector<std::string> file_names(const CifarKind& kind) {
  std::vector<std::string> names = kind.train;
  names.push_back(kind.test);
  return names;
}

// The folder of the files or, where there is none, the archive of them.
std::filesystem::path find_source(const DataSpec& spec, const CifarKind& kind) {
  std::error_code error;
  const std::filesystem::path root = spec.root;
  if (spec.root.empty()) fail("data.root", "is empty; " + remedy(kind));
  if (std::filesystem::is_directory(root / kind.folder, error)) return root / kind.folder;
  if (!std::filesystem::is_directory(root, error))
    fail(spec.root, "there is no such folder; " + remedy(kind));
  if (std::filesystem::exists(root / kind.test, error)) return root;
  for (const std::string ending : {".gz", ""}) {
    const std::filesystem::path archive = root / (kind.archive + ending);
    if (std::filesystem::is_regular_file(archive, error)) return archive;
  }
  return root;
}

std::vector<std::string> paths_in(const std::filesystem::path& folder, const CifarKind& kind) {
  std::vector<std::string> paths;
  for (const std::string& name : file_names(kind)) {
    std::error_code error;
    const std::string path = (folder / name).string();
    if (!std::filesystem::exists(path, error)) fail(path, "there is no such file; " + remedy(kind));
    if (!std::filesystem::is_regular_file(path, error)) fail(path, "is not a file");
    paths.push_back(path);
  }
  return paths;
}

CifarFile read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file.tellg();
  CifarFile result{path, {}};
  if (size >= 0) result.bytes.resize(size);
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(result.bytes.data()), size))
    fail(path, "can't be read; check its permissions");
  return result;
}

std::vector<CifarFile> unpack(const std::string& archive, const CifarKind& kind) {
  const std::vector<std::string> names = file_names(kind);
  std::vector<ArchiveMember> members = read_archive(archive, names);
  std::vector<CifarFile> files;
  for (const std::string& name : names) {
    const auto found = std::ranges::find_if(members, [&](const ArchiveMember& member) {
      return std::filesystem::path(member.name).filename() == name;
    });
    if (found == members.end()) fail(archive, "holds no " + name + "; " + remedy(kind));
    files.push_back({archive + '/' + found->name, std::move(found->bytes)});
  }
  return files;
}

// The files to train on, then the one to test on.
std::vector<CifarFile> read_files(const DataSpec& spec, const CifarKind& kind) {
  const std::filesystem::path source = find_source(spec, kind);
  if (!std::filesystem::is_directory(source)) return unpack(source.string(), kind);
  std::vector<CifarFile> files;
  for (const std::string& path : paths_in(source, kind)) files.push_back(read_file(path));
  return files;
}

int64_t count_records(const CifarFile& file, const CifarKind& kind) {
  const auto bytes = static_cast<int64_t>(file.bytes.size());
  if (bytes == 0 || bytes % kind.record_bytes() != 0) {
    fail(file.path, "has " + std::to_string(bytes) + " bytes; a file of " + kind.name +
                        " has a multiple of " + std::to_string(kind.record_bytes()) + " (" +
                        std::to_string(kind.label_bytes()) + " for the label, " + std::to_string(kPixels) +
                        " for the pixels); fetch or copy it again");
  }
  return bytes / kind.record_bytes();
}

void append_records(const CifarFile& file, int64_t count, const CifarKind& kind, Keep keep, Pictures& part) {
  const uint8_t* record = file.bytes.data();
  for (int64_t i = 0; i < count; ++i, record += kind.record_bytes()) {
    for (int64_t k = 0; k < kind.label_bytes(); ++k) {
      if (record[k] >= kind.classes[k]) {
        fail(file.path, "label " + std::to_string(record[k]) + " of record " + std::to_string(i) +
                            " is not below " + std::to_string(kind.classes[k]) +
                            ", the number of classes; it is damaged or not of " + kind.name);
      }
    }
    part.labels.push_back(record[kind.label_bytes() - 1]);
    if (keep == Keep::all)
      part.pixels.insert(part.pixels.end(), record + kind.label_bytes(), record + kind.record_bytes());
  }
}

Pictures read_part(std::span<const CifarFile> files, const CifarKind& kind, Keep keep) {
  Pictures part;
  part.path = files.front().path;
  if (files.size() > 1) part.path += " to " + std::filesystem::path(files.back().path).filename().string();
  part.channels = kChannels;
  part.height = part.width = kSide;
  std::vector<int64_t> counts;
  for (const CifarFile& file : files) counts.push_back(count_records(file, kind));
  part.count = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  if (keep == Keep::all) part.pixels.reserve(part.count * kPixels);
  for (size_t i = 0; i < files.size(); ++i) append_records(files[i], counts[i], kind, keep, part);
  return part;
}

}  // namespace

std::string cifar_fingerprint(const DataSpec& spec) {
  const CifarKind kind = kind_of(spec);
  const std::filesystem::path source = find_source(spec, kind);
  if (std::filesystem::is_directory(source)) return fingerprint_files(paths_in(source, kind));
  const std::vector<std::string> names = file_names(kind);
  const std::vector<CifarFile> files = unpack(source.string(), kind);
  std::vector<NamedBytes> contents;
  for (size_t i = 0; i < files.size(); ++i) contents.push_back({names[i], files[i].bytes});
  return fingerprint_contents(contents);
}

ImageSet read_cifar(const DataSpec& spec, Keep keep) {
  const CifarKind kind = kind_of(spec);
  const std::vector<CifarFile> files = read_files(spec, kind);
  const std::span<const CifarFile> all = files;
  return {read_part(all.first(all.size() - 1), kind, keep), read_part(all.last(1), kind, keep),
          kind.classes.back()};
}

}  // namespace diffq
