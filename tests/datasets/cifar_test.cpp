// CIFAR's binary files: values of records written by hand, where the files may lie, and everything that may
// be wrong with them.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <numeric>
#include <tuple>

#include "datasets/dataset.h"
#include "tests/support/cifar_files.h"

namespace diffq {
namespace {

constexpr int64_t kPlane = 32 * 32;

// Labels, then a plane of each of the three greys; red's pixel (y, x) = (0, 1) and (1, 0) are marked.
std::vector<uint8_t> record(const std::vector<uint8_t>& labels, std::array<uint8_t, 3> greys, uint8_t at_0_1,
                            uint8_t at_1_0) {
  std::vector<uint8_t> bytes = labels;
  for (const uint8_t grey : greys) bytes.insert(bytes.end(), kPlane, grey);
  bytes[labels.size() + 1] = at_0_1;
  bytes[labels.size() + 32] = at_1_0;
  return bytes;
}

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

Batch all_of(const Dataset& data) { return data.batch(counting(data.size()), std::nullopt); }

void append(const std::filesystem::path& file, const std::vector<uint8_t>& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::app)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

template <class Action>
void expect_error(const Action& action, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error that says '" << parts.front() << "'";
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    for (const std::string& part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

class Cifar : public ::testing::Test {
 protected:
  DataSpec spec_of(DataName name, int64_t valid) const {
    DataSpec spec;
    spec.name = name;
    spec.root = folder_.path().string();
    spec.valid_samples = valid;
    return spec;
  }
  std::filesystem::path batch(int k) const {
    return folder_.path() / ("data_batch_" + std::to_string(k) + ".bin");
  }
  void expect_data_error(const DataSpec& spec, const std::vector<std::string>& parts) const {
    expect_error([&] { check_data(spec); }, parts);
    expect_error([&] { open_data(spec); }, parts);
  }

  TemporaryFolder folder_;
};

// Red is 0 or 255 in equal parts, so x / 255 has mean and standard deviation 1/2; green has 1/2 and 1/2 as
// well, pictures alternating; blue is one grey, which becomes 0. The held-out picture counts for nothing.
TEST_F(Cifar, TenClassesWrittenByHand) {
  write_bytes(batch(1), record({9}, {0, 255, 7}, 255, 0));
  write_bytes(batch(2), record({3}, {255, 0, 7}, 255, 0));
  write_bytes(batch(3), record({0}, {0, 255, 7}, 0, 255));
  append(batch(3), record({1}, {255, 0, 7}, 0, 255));
  write_bytes(batch(4), record({2}, {0, 0, 7}, 0, 0));
  append(batch(4), record({2}, {255, 255, 7}, 255, 255));
  write_bytes(batch(5), record({4}, {51, 102, 8}, 51, 51));
  write_bytes(folder_.path() / "test_batch.bin", record({8}, {255, 0, 7}, 0, 255));

  const DataSplits splits = open_data(spec_of(DataName::cifar10, 1));
  EXPECT_EQ(std::get<ImageShape>(splits.shape).channels, 3);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).height, 32);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).width, 32);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).classes, 10);
  ASSERT_EQ(splits.train->size(), 6);

  const Batch train = all_of(*splits.train);
  EXPECT_TRUE(at::equal(train.target, at::tensor({9, 3, 0, 1, 2, 2}, at::kLong)));
  at::Tensor red = at::ones({6, 32, 32}), green = at::ones({6, 32, 32});
  for (const int64_t dark : {0, 2, 4}) red[dark].fill_(-1);
  for (const int64_t dark : {1, 3, 4}) green[dark].fill_(-1);
  for (const int64_t picture : {0, 1, 5}) red[picture][0][1].fill_(1);
  for (const int64_t picture : {2, 3, 4}) red[picture][0][1].fill_(-1);
  for (const int64_t picture : {2, 3, 5}) red[picture][1][0].fill_(1);
  for (const int64_t picture : {0, 1, 4}) red[picture][1][0].fill_(-1);
  EXPECT_TRUE(at::equal(train.input.select(1, 0), red));
  EXPECT_TRUE(at::equal(train.input.select(1, 1), green));
  EXPECT_TRUE(at::equal(train.input.select(1, 2), at::zeros({6, 32, 32})));

  const Batch valid = all_of(*splits.valid);
  EXPECT_EQ(valid.target.item<int64_t>(), 4);
  EXPECT_TRUE(at::allclose(valid.input[0][0], at::full({32, 32}, -0.6F), 0, 1e-6));
  EXPECT_TRUE(at::allclose(valid.input[0][1], at::full({32, 32}, -0.2F), 0, 1e-6));
  const Batch test = all_of(*splits.test);
  EXPECT_EQ(test.target.item<int64_t>(), 8);
  EXPECT_EQ(test.input[0][0][0][1].item<float>(), -1);
  EXPECT_EQ(test.input[0][0][1][0].item<float>(), 1);
  EXPECT_EQ(test.input[0][0][1][1].item<float>(), 1);
  EXPECT_TRUE(at::equal(test.input[0][1], at::full({32, 32}, -1.F)));
}

TEST_F(Cifar, OfAHundredClassesTheFineLabelIsLearnt) {
  write_bytes(folder_.path() / "train.bin", record({19, 3}, {0, 0, 0}, 0, 255));
  append(folder_.path() / "train.bin", record({0, 99}, {255, 255, 255}, 255, 0));
  append(folder_.path() / "train.bin", record({1, 50}, {255, 255, 255}, 255, 0));
  write_bytes(folder_.path() / "test.bin", record({5, 7}, {255, 0, 0}, 255, 0));
  const DataSplits splits = open_data(spec_of(DataName::cifar100, 1));
  EXPECT_EQ(std::get<ImageShape>(splits.shape).classes, 100);
  const Batch train = all_of(*splits.train);
  EXPECT_TRUE(at::equal(train.target, at::tensor({3, 99}, at::kLong)));
  // Two label bytes are skipped, not one.
  EXPECT_EQ(train.input[0][0][0][31].item<float>(), -1);
  EXPECT_EQ(train.input[0][0][1][0].item<float>(), 1);
  EXPECT_EQ(train.input[1][0][1][0].item<float>(), -1);
  EXPECT_EQ(all_of(*splits.valid).target.item<int64_t>(), 50);
  EXPECT_EQ(all_of(*splits.test).target.item<int64_t>(), 7);
}

// All classes there are, whichever the files hold.
TEST_F(Cifar, FilesOfAnyNumberOfRecords) {
  write_cifar10(folder_.path(), {.records = 3, .test = 2, .classes = 2});
  const DataSummary ten = check_data(spec_of(DataName::cifar10, 4));
  EXPECT_EQ(ten.train, 11);
  EXPECT_EQ(ten.valid, 4);
  EXPECT_EQ(ten.test, 2);
  EXPECT_EQ(std::get<ImageShape>(ten.shape).classes, 10);
  write_cifar100(folder_.path(), {.records = 7, .test = 5});
  const DataSummary hundred = check_data(spec_of(DataName::cifar100, 1));
  EXPECT_EQ(hundred.train, 6);
  EXPECT_EQ(hundred.test, 5);
  EXPECT_EQ(std::get<ImageShape>(hundred.shape).classes, 100);
}

TEST_F(Cifar, RootIsTheFolderOrTheOneThatHoldsIt) {
  const auto ten = folder_.path() / "cifar-10-batches-bin", hundred = folder_.path() / "cifar-100-binary";
  write_cifar10(ten, {});
  write_cifar100(hundred, {});
  for (const auto& [name, inner] :
       {std::pair{DataName::cifar10, ten}, std::pair{DataName::cifar100, hundred}}) {
    const DataSpec outside = spec_of(name, 5);
    DataSpec inside = outside;
    inside.root = inner.string();
    EXPECT_EQ(fingerprint(inside), fingerprint(outside));
    EXPECT_TRUE(at::equal(all_of(*open_data(inside).test).input, all_of(*open_data(outside).test).input));
  }
}

TEST_F(Cifar, FingerprintIsOfEveryFile) {
  write_cifar10(folder_.path(), {.records = 2, .test = 2});
  const DataSpec spec = spec_of(DataName::cifar10, 1);
  const std::string before = fingerprint(spec);
  write_bytes(folder_.path() / "batches.meta.txt", std::array<uint8_t, 1>{'x'});
  EXPECT_EQ(fingerprint(spec), before) << "a file that is not read";
  for (const std::string name : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                 "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}) {
    const auto file = folder_.path() / name, kept = folder_.path() / "kept";
    std::filesystem::copy_file(file, kept);
    append(file, record({0}, {0, 0, 0}, 0, 0));
    EXPECT_NE(fingerprint(spec), before) << name;
    std::filesystem::remove(file);
    std::filesystem::rename(kept, file);
  }
  EXPECT_EQ(fingerprint(spec), before);
}

TEST_F(Cifar, MissingFoldersAndFiles) {
  DataSpec spec = spec_of(DataName::cifar10, 1);
  write_cifar10(folder_.path(), {});
  for (const std::string name :
       {"data_batch_1.bin", "data_batch_3.bin", "data_batch_5.bin", "test_batch.bin"}) {
    const auto file = folder_.path() / name;
    std::filesystem::rename(file, folder_.path() / "away");
    expect_data_error(spec, {file.string() + ": there is no such file", "cifar-10-batches-bin",
                             "cifar-10-binary.tar.gz", "data.root"});
    expect_error([&] { fingerprint(spec); }, {file.string() + ": there is no such file"});
    std::filesystem::create_directory(file);
    expect_data_error(spec, {file.string() + ": is not a file"});
    std::filesystem::remove(file);
    std::filesystem::rename(folder_.path() / "away", file);
  }
  EXPECT_NO_THROW(open_data(spec));
  spec.root = (folder_.path() / "elsewhere").string();
  expect_data_error(spec, {spec.root + ": there is no such folder", "cifar-10-batches-bin"});
  spec.root.clear();
  expect_data_error(spec, {"data.root: is empty"});
  // Of the other kind.
  expect_data_error(spec_of(DataName::cifar100, 1), {"train.bin: there is no such file", "cifar-100-binary"});
}

TEST_F(Cifar, RecordsMustBeWhole) {
  write_cifar10(folder_.path(), {.records = 2, .test = 2});
  const DataSpec spec = spec_of(DataName::cifar10, 1);
  for (const auto& file : {batch(1), batch(4), folder_.path() / "test_batch.bin"}) {
    const auto whole = static_cast<int64_t>(std::filesystem::file_size(file));
    for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{3072}, whole - 1, whole + 1}) {
      std::filesystem::resize_file(file, bytes);
      expect_data_error(spec,
                        {file.string() + ": has " + std::to_string(bytes) + " bytes", "multiple of 3073"});
    }
    std::filesystem::resize_file(file, 3073);
    EXPECT_NO_THROW(open_data(spec));
  }
  // Records of the other kind are another size.
  write_cifar100(folder_.path(), {.records = 2, .test = 2});
  std::filesystem::copy_file(folder_.path() / "train.bin", batch(2),
                             std::filesystem::copy_options::overwrite_existing);
  expect_data_error(spec, {"data_batch_2.bin: has 6148 bytes", "multiple of 3073"});
  std::filesystem::copy_file(batch(1), folder_.path() / "test.bin",
                             std::filesystem::copy_options::overwrite_existing);
  expect_data_error(spec_of(DataName::cifar100, 1), {"test.bin: has 3073 bytes", "multiple of 3074"});
}

TEST_F(Cifar, LabelsMustBeOfTheClassesThereAre) {
  write_cifar10(folder_.path(), {});
  append(batch(2), record({10}, {0, 0, 0}, 0, 0));
  expect_data_error(spec_of(DataName::cifar10, 1),
                    {"data_batch_2.bin: label 10 of record 40 is not below 10", "cifar10"});
  write_cifar100(folder_.path(), {});
  write_bytes(folder_.path() / "test.bin", record({19, 99}, {0, 0, 0}, 0, 0));
  EXPECT_NO_THROW(check_data(spec_of(DataName::cifar100, 1)));
  append(folder_.path() / "test.bin", record({19, 100}, {0, 0, 0}, 0, 0));
  expect_data_error(spec_of(DataName::cifar100, 1), {"test.bin: label 100 of record 1 is not below 100"});
  write_bytes(folder_.path() / "test.bin", record({20, 99}, {0, 0, 0}, 0, 0));
  expect_data_error(spec_of(DataName::cifar100, 1), {"test.bin: label 20 of record 0 is not below 20"});
}

TEST_F(Cifar, MoreAskedForThanThereIs) {
  write_cifar10(folder_.path(), {.records = 2, .test = 2});
  expect_data_error(spec_of(DataName::cifar10, 10),
                    {"data.valid_samples: 10 samples can't be held out of the 10",
                     "data_batch_1.bin to data_batch_5.bin; at most 9"});
}

// The archives as they are distributed, in data.root beside a folder of another name to pack them from.
class CifarArchive : public Cifar {
 protected:
  CifarArchive() {
    write_cifar10(ten_, {.records = 6, .test = 4});
    write_cifar100(hundred_, {.records = 6, .test = 4});
  }
  std::filesystem::path archive(const std::string& ending = ".tar.gz") const {
    return folder_.path() / ("cifar-10-binary" + ending);
  }
  // Packs what is there now.
  void pack() const { write_archive(ten_, archive()); }

  const std::filesystem::path ten_ = folder_.path() / "packed/cifar-10-batches-bin",
                              hundred_ = folder_.path() / "packed/cifar-100-binary";
};

TEST_F(CifarArchive, GivesWhatItsFolderGives) {
  for (const auto& [name, inner, archive] : {std::tuple{DataName::cifar10, ten_, "cifar-10-binary"},
                                             std::tuple{DataName::cifar100, hundred_, "cifar-100-binary"}}) {
    const DataSpec packed = spec_of(name, 3);
    DataSpec unpacked = packed;
    unpacked.root = inner.string();
    const DataSplits expected = open_data(unpacked);
    for (const std::string ending : {".tar", ".tar.gz"}) {
      const auto file = folder_.path() / (archive + ending);
      write_archive(inner, file);
      const DataSplits splits = open_data(packed);
      for (const auto part : {&DataSplits::train, &DataSplits::valid, &DataSplits::test}) {
        const Batch ours = all_of(*(splits.*part)), theirs = all_of(*(expected.*part));
        EXPECT_TRUE(at::equal(ours.input, theirs.input));
        EXPECT_TRUE(at::equal(ours.target, theirs.target));
      }
      EXPECT_EQ(check_data(packed).train, check_data(unpacked).train);
      EXPECT_EQ(fingerprint(packed), fingerprint(unpacked));
      std::filesystem::remove(file);
    }
  }
}

// More than 1 MiB, of which only the ends are summed.
TEST_F(CifarArchive, FingerprintOfLargeFilesIsTheSameToo) {
  write_cifar10(ten_, {.records = 400, .test = 4});
  pack();
  DataSpec unpacked = spec_of(DataName::cifar10, 3);
  unpacked.root = ten_.string();
  const std::string before = fingerprint(spec_of(DataName::cifar10, 3));
  EXPECT_EQ(before, fingerprint(unpacked));
  append(ten_ / "data_batch_2.bin", record({0}, {0, 0, 0}, 0, 0));
  pack();
  EXPECT_NE(fingerprint(spec_of(DataName::cifar10, 3)), before);
}

TEST_F(CifarArchive, AFolderThatIsThereGoesFirst) {
  write_bytes(archive(), std::array<uint8_t, 1>{0});
  expect_data_error(spec_of(DataName::cifar10, 3), {archive().string() + ": can't be read as a tar archive"});
  write_cifar10(folder_.path() / "cifar-10-batches-bin", {});
  EXPECT_EQ(check_data(spec_of(DataName::cifar10, 3)).test, 20);
}

TEST_F(CifarArchive, ThatIsCutShort) {
  const DataSpec spec = spec_of(DataName::cifar10, 3);
  for (const std::string ending : {".tar.gz", ".tar"}) {
    write_archive(ten_, archive(ending));
    const auto whole = std::filesystem::file_size(archive(ending));
    for (const uint64_t bytes : {whole / 2, whole / 4, uint64_t{700}, uint64_t{100}, uint64_t{1}}) {
      std::filesystem::resize_file(archive(ending), bytes);
      expect_data_error(spec,
                        {archive(ending).string() + ": can't be read as a tar archive", "fetch or copy"});
      expect_error([&] { fingerprint(spec); }, {archive(ending).string()});
      write_archive(ten_, archive(ending));
    }
    EXPECT_NO_THROW(open_data(spec));
    std::filesystem::resize_file(archive(ending), 0);
    expect_data_error(spec, {archive(ending).string()});
    std::filesystem::remove(archive(ending));
  }
}

TEST_F(CifarArchive, WithoutOneOfItsFiles) {
  for (const std::string name : {"data_batch_1.bin", "data_batch_5.bin", "test_batch.bin"}) {
    std::filesystem::rename(ten_ / name, folder_.path() / name);
    pack();
    std::filesystem::rename(folder_.path() / name, ten_ / name);
    expect_data_error(spec_of(DataName::cifar10, 3),
                      {archive().string() + ": holds no " + name, "cifar-10-binary.tar.gz"});
  }
  // Of the other kind, under this one's name.
  write_archive(hundred_, archive());
  expect_data_error(spec_of(DataName::cifar10, 3), {archive().string() + ": holds no data_batch_1.bin"});
}

TEST_F(CifarArchive, WithWrongFiles) {
  const DataSpec spec = spec_of(DataName::cifar10, 3);
  const std::string inside = archive().string() + "/cifar-10-batches-bin/";
  std::filesystem::resize_file(ten_ / "data_batch_4.bin", 3072);
  pack();
  expect_data_error(spec, {inside + "data_batch_4.bin: has 3072 bytes", "multiple of 3073"});
  write_bytes(ten_ / "data_batch_4.bin", record({10}, {0, 0, 0}, 0, 0));
  pack();
  expect_data_error(spec, {inside + "data_batch_4.bin: label 10 of record 0 is not below 10"});
  std::filesystem::resize_file(ten_ / "data_batch_4.bin", 0);
  pack();
  expect_data_error(spec, {inside + "data_batch_4.bin: has 0 bytes"});
}

}  // namespace
}  // namespace diffq
