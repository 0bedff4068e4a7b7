// Whatever may be wrong with the four files or with what is asked of them: one std::invalid_argument that
// says where and what to do, from check_data as from open_data.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "datasets/dataset.h"
#include "datasets/idx.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes read_bytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class DataErrors : public ::testing::Test {
 protected:
  DataErrors() {
    write_idx_set(file(""), set_);
    spec_.name = DataName::idx;
    spec_.root = folder_.path().string();
    spec_.valid_samples = 8;
  }

  std::filesystem::path file(const std::string& name) const { return folder_.path() / name; }

  void expect_error(const std::vector<std::string>& parts) const {
    expect_error_of([&] { check_data(spec_); }, parts);
    expect_error_of([&] { open_data(spec_); }, parts);
  }

  template <class Action>
  static void expect_error_of(const Action& action, const std::vector<std::string>& parts) {
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

  // Every way to cut off the end of a file.
  void expect_error_for_each_prefix(const std::string& name) const {
    const Bytes whole = read_bytes(file(name));
    for (size_t length = 0; length < whole.size(); ++length) {
      write_bytes(file(name), std::span(whole).first(length));
      expect_error({name + ": "});
      if (HasFailure()) FAIL() << "cut after " << length << " of " << whole.size();
    }
    write_bytes(file(name), whole);
    EXPECT_NO_THROW(open_data(spec_));
  }

  IdxSetSpec set_{.train = 20, .test = 6, .height = 4, .width = 5, .classes = 3};
  TemporaryFolder folder_;
  DataSpec spec_;
};

TEST_F(DataErrors, NoneWhenAllIsWell) {
  EXPECT_EQ(check_data(spec_).train, 12);
  EXPECT_EQ(open_data(spec_).test->size(), 6);
}

TEST_F(DataErrors, MissingFolder) {
  spec_.root = file("elsewhere").string();
  expect_error({spec_.root + ": there is no such folder", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
                "data.root"});
  expect_error_of([&] { fingerprint(spec_); }, {spec_.root + ": there is no such folder"});
  spec_.name = DataName::mnist;
  expect_error({spec_.root + ": there is no such folder", "run scripts/setup.sh --data"});
  spec_.root.clear();
  expect_error({"data.root: is empty", "run scripts/setup.sh --data"});
}

TEST_F(DataErrors, EachMissingFile) {
  for (const std::string name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    std::filesystem::rename(file(name), file("away"));
    spec_.name = DataName::idx;
    expect_error({file(name).string() + "[.gz]: there is no such file", "idx4 for images"});
    expect_error_of([&] { fingerprint(spec_); }, {file(name).string() + "[.gz]: there is no such file"});
    spec_.name = DataName::mnist;
    expect_error({file(name).string() + "[.gz]: there is no such file", "run scripts/setup.sh --data"});
    std::filesystem::rename(file("away"), file(name));
  }
}

TEST_F(DataErrors, AFolderInPlaceOfAFile) {
  std::filesystem::remove(file("train-labels-idx1-ubyte"));
  std::filesystem::create_directory(file("train-labels-idx1-ubyte"));
  expect_error({"train-labels-idx1-ubyte: is not a file"});
}

TEST_F(DataErrors, CutShort) {
  expect_error_for_each_prefix("t10k-images-idx3-ubyte");
  expect_error_for_each_prefix("t10k-labels-idx1-ubyte");
}

TEST_F(DataErrors, CutShortCompressed) {
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    std::filesystem::remove(entry.path());
  set_.gzip = true;
  write_idx_set(file(""), set_);
  expect_error_for_each_prefix("t10k-images-idx3-ubyte.gz");
  expect_error_for_each_prefix("t10k-labels-idx1-ubyte.gz");
}

TEST_F(DataErrors, DamagedCompressed) {
  set_.gzip = true;
  write_idx_set(file(""), set_);
  std::filesystem::remove(file("train-images-idx3-ubyte"));
  const std::string name = "train-images-idx3-ubyte.gz";
  const Bytes whole = read_bytes(file(name));
  for (const size_t place :
       {whole.size() / 2, whole.size() - 6, whole.size() - 1}) {  // data, check sum, length
    Bytes damaged = whole;
    damaged[place] ^= 0x10;
    write_bytes(file(name), damaged);
    expect_error({name + ": ", "again"});
  }
}

TEST_F(DataErrors, TooLong) {
  const Bytes pixels(6 * 4 * 5 + 1);
  write_idx_file(file("t10k-images-idx3-ubyte"), {6, 4, 5}, pixels, false);
  expect_error(
      {"t10k-images-idx3-ubyte: its header says 6 x 4 x 5 bytes, but the file has 137, 16 of them the "
       "header"});
  std::filesystem::remove(file("t10k-images-idx3-ubyte"));
  write_idx_file(file("t10k-images-idx3-ubyte.gz"), {6, 4, 5}, pixels, true);
  expect_error({"t10k-images-idx3-ubyte.gz: its header promises 120 bytes, but there are more"});
}

TEST_F(DataErrors, WrongMagic) {
  Bytes whole = read_bytes(file("train-images-idx3-ubyte"));
  whole[2] = 0x0d;  // floats
  write_bytes(file("train-images-idx3-ubyte"), whole);
  expect_error(
      {"train-images-idx3-ubyte: begins with '00 00 0d 03'", "begins with 00 00 08 03 or 00 00 08 04"});
  // Images where labels should be.
  write_idx_set(file(""), set_);
  std::filesystem::copy_file(file("t10k-images-idx3-ubyte"), file("train-labels-idx1-ubyte"),
                             std::filesystem::copy_options::overwrite_existing);
  expect_error({"train-labels-idx1-ubyte: begins with '00 00 08 03'", "begins with 00 00 08 01"});
}

// None of these may reserve what it asks for; the compressed one may expand at most about a thousandfold.
TEST_F(DataErrors, AbsurdDimensions) {
  constexpr int64_t kMax = 0xffffffff;
  const std::string name = "train-images-idx3-ubyte";
  const Bytes few(100);
  for (const std::vector<int64_t>& dims : std::vector<std::vector<int64_t>>{{kMax, kMax, kMax},
                                                                            {kMax, kMax, kMax, kMax},
                                                                            {int64_t{1} << 31, 28, 28},
                                                                            {int64_t{1} << 31, 1 << 31, 4},
                                                                            {60000, 8192, 8192}}) {
    write_idx_file(file(name), dims, few, false);
    expect_error(
        {name + ": its header says " + std::to_string(dims[0]) + " x ", "cut short or not an IDX file"});
    std::filesystem::remove(file(name));
    write_idx_file(file(name + ".gz"), dims, few, true);
    expect_error({name + ".gz: its header says " + std::to_string(dims[0]) + " x ", "compressed"});
    std::filesystem::remove(file(name + ".gz"));
  }
  write_idx_file(file(name), {0, 4, 5}, {}, false);
  expect_error({name + ": its header gives a dimension of 0"});
  write_idx_file(file(name), {20, 0, 5}, {}, false);
  expect_error({name + ": its header gives a dimension of 0"});
}

TEST_F(DataErrors, RandomBytes) {
  const std::string name = "train-images-idx3-ubyte";
  const std::array<Bytes, 4> beginnings{Bytes{}, Bytes{0, 0, 8, 3}, Bytes{0, 0, 8, 4, 0, 0, 0, 20},
                                        Bytes{0x1f, 0x8b, 8, 0}};
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    Bytes bytes = beginnings[trial % beginnings.size()];
    const size_t length = bytes.size() + random() % 300;
    while (bytes.size() < length) bytes.push_back(static_cast<uint8_t>(random()));
    write_bytes(file(name), bytes);
    expect_error({name + ": "});
  }
}

TEST_F(DataErrors, CountsDiffer) {
  write_idx_file(file("t10k-labels-idx1-ubyte"), {5}, Bytes(5), false);
  expect_error({"t10k-labels-idx1-ubyte: holds 5 labels", "t10k-images-idx3-ubyte has 6 images",
                "as many labels as images"});
}

TEST_F(DataErrors, SizesDiffer) {
  write_idx_file(file("t10k-images-idx3-ubyte"), {6, 5, 4}, Bytes(120), false);
  expect_error({"t10k-images-idx3-ubyte: holds images of 5 x 4", "train-images-idx3-ubyte are 4 x 5"});
  std::filesystem::remove(file("t10k-images-idx3-ubyte"));
  write_idx_file(file("t10k-images-idx4-ubyte"), {6, 3, 4, 5}, Bytes(360), false);
  expect_error({"t10k-images-idx4-ubyte: holds images of 3 x 4 x 5"});
}

TEST_F(DataErrors, LabelBeyondTheClasses) {
  write_idx_file(file("t10k-labels-idx1-ubyte"), {6}, Bytes{0, 1, 2, 0, 3, 0}, false);
  expect_error({"t10k-labels-idx1-ubyte: label 3 of sample 4 is not below 3", "train-labels-idx1-ubyte"});
}

TEST_F(DataErrors, NotMnist) {
  spec_.name = DataName::mnist;
  expect_error(
      {"train-images-idx3-ubyte: holds 20 images of 4 x 5", "60000 of 28 x 28", "data.name \"idx\""});
}

TEST_F(DataErrors, MoreAskedForThanThereIs) {
  spec_.valid_samples = 20;
  expect_error({"data.valid_samples: 20 samples can't be held out of the 20", "at most 19"});
  spec_.valid_samples = 8;
  spec_.train_samples = 13;
  expect_error({"data.train_samples: 13 samples were asked for, but there are 12", "besides the 8 held out"});
  spec_.train_samples = 12;
  spec_.test_samples = 7;
  expect_error({"data.test_samples: 7 samples were asked for, but there are 6"});
  spec_.test_samples = 6;
  EXPECT_EQ(check_data(spec_).train, 12);
}

TEST_F(DataErrors, NegativeNumbers) {
  for (const auto& [member, key] :
       {std::pair{&DataSpec::train_samples, "data.train_samples: -1 is negative"},
        std::pair{&DataSpec::valid_samples, "data.valid_samples: -1 is negative"},
        std::pair{&DataSpec::test_samples, "data.test_samples: -1 is negative"}}) {
    const int64_t before = std::exchange(spec_.*member, -1);
    expect_error({key});
    spec_.*member = before;
  }
}

TEST_F(DataErrors, Augmentation) {
  spec_.augment = {.shift = 4};
  expect_error({"data.augment.shift: 4 pixels", "below 4"});
  spec_.augment = {.crop = 5};
  expect_error({"data.augment.crop: 5 is larger than the images of 4 x 5", "at most 4"});
  spec_.augment = {.shift = -1};
  expect_error({"data.augment.shift: -1 is negative"});
  spec_.augment = {.crop = -1};
  expect_error({"data.augment.crop: -1 is negative"});
  spec_.augment = {.shift = 3, .crop = 4};
  EXPECT_NO_THROW(check_data(spec_));
}

}  // namespace
}  // namespace diffq
