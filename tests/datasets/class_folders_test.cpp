// The layout of class folders, what may be wrong with it, and when the index of their files is believed.

#include "datasets/class_folders.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>

#include "datasets/class_index.h"
#include "datasets/dataset.h"
#include "datasets/warning.h"
#include "tests/support/idx_files.h"
#include "tests/support/jpeg_files.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

class ClassFoldersTest : public ::testing::Test {
 protected:
  ClassFoldersTest() {
    write_jpeg_folders(root_);
    setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
  }
  ~ClassFoldersTest() override { unsetenv("XDG_CACHE_HOME"); }

  void expect_error(const std::vector<std::string>& parts) const {
    DataSpec spec;
    spec.name = DataName::imagenet;
    spec.root = root_.string();
    spec.valid_samples = 3;
    for (int i = 0; i < 3; ++i) {
      try {
        i == 0 ? void(check_data(spec)) : i == 1 ? void(open_data(spec)) : void(fingerprint(spec));
        ADD_FAILURE() << "no error that says '" << parts.front() << "'";
      } catch (const std::invalid_argument& error) {
        const std::string text = error.what();
        for (const std::string& part : parts)
          EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
      }
    }
  }

  std::string path(const std::string& name) const { return (root_ / name).string(); }
  fs::path index() const { return root_ / ".diffq-index"; }

  // It is written anew when it is not.
  bool believed() const {
    fs::last_write_time(index(), fs::file_time_type{});
    open_class_folders(root_.string());
    return fs::last_write_time(index()) == fs::file_time_type{};
  }

  TemporaryFolder folder_;
  fs::path root_ = folder_.path() / "photos";
};

TEST_F(ClassFoldersTest, AreListedInOrder) {
  std::ofstream(root_ / "train/.hidden") << "x";
  std::ofstream(root_ / "train/class_1/.DS_Store") << "x";
  fs::rename(root_ / "train/class_1/3.jpg", root_ / "train/class_1/3.JPEG");
  fs::rename(root_ / "train/class_1/4.jpg", root_ / "train/class_1/4.jpeg");
  const ClassFolders folders = list_class_folders(root_.string());
  EXPECT_EQ(folders.classes, (std::vector<std::string>{"class_0", "class_1", "class_2"}));
  EXPECT_EQ(folders.train.count(), 24);
  EXPECT_EQ(folders.val.count(), 12);
  EXPECT_EQ(folders.relative_path(folders.train, 0), "train/class_0/0.jpg");
  EXPECT_EQ(folders.relative_path(folders.train, 11), "train/class_1/3.JPEG");
  EXPECT_EQ(folders.relative_path(folders.val, 11), "val/class_2/3.jpg");
  for (int64_t file = 0; file < 24; ++file) {
    EXPECT_EQ(folders.train.label(file), file / 8);
    EXPECT_EQ(folders.train.bytes(file), fs::file_size(folders.path(folders.train, file)));
  }
  EXPECT_EQ(folders.train.class_begin(2), 16);
  EXPECT_EQ(folders.train.class_end(2), 24);
}

TEST_F(ClassFoldersTest, MissingFolders) {
  fs::rename(root_ / "val", root_ / "test");
  expect_error({path("val") + ": there is no such folder", "train and val in data.root"});
  fs::rename(root_ / "train", root_ / "training");
  expect_error({path("train") + ": there is no such folder"});
  fs::remove_all(root_);
  expect_error({root_.string() + ": there is no such folder"});
  root_.clear();
  expect_error({"data.root: is empty"});
}

TEST_F(ClassFoldersTest, NoClasses) {
  fs::remove_all(root_ / "train");
  fs::create_directory(root_ / "train");
  expect_error({path("train") + ": holds no class folders", "one folder a class"});
}

TEST_F(ClassFoldersTest, PicturesBesideTheClasses) {
  fs::copy_file(root_ / "train/class_0/0.jpg", root_ / "train/0.jpg");
  expect_error(
      {path("train/0.jpg") + ": stands beside the class folders; it belongs in the folder of its class"});
  fs::rename(root_ / "train/0.jpg", root_ / "val/0.jpg");
  expect_error({path("val/0.jpg") + ": stands beside the class folders", "ImageNet's val is not sorted"});
}

TEST_F(ClassFoldersTest, ClassesDiffer) {
  fs::rename(root_ / "val/class_1", folder_.path() / "away");
  expect_error({path("train/class_1") + ": there is no class of this name in val", "the same classes"});
  fs::rename(folder_.path() / "away", root_ / "val/class_1");
  fs::rename(root_ / "train/class_2", folder_.path() / "away");
  expect_error({path("val/class_2") + ": there is no class of this name in train"});
}

TEST_F(ClassFoldersTest, WhatIsNoPicture) {
  std::ofstream(root_ / "train/class_1/list.txt") << "x";
  std::ofstream(root_ / "train/class_2/a.png") << "x";
  expect_error({path("train/class_1/list.txt") + ": is not a .jpg or .jpeg file", "hide it with a dot"});
  fs::remove(root_ / "train/class_1/list.txt");
  expect_error({path("train/class_2/a.png") + ": is not a .jpg or .jpeg file"});
  fs::remove(root_ / "train/class_2/a.png");
  fs::create_directory(root_ / "val/class_0/more.jpg");
  expect_error({path("val/class_0/more.jpg") + ": is not a file"});
  fs::remove(root_ / "val/class_0/more.jpg");
  fs::create_symlink(root_ / "nowhere", root_ / "val/class_0/more.jpg");
  expect_error({path("val/class_0/more.jpg") + ": is not a file"});
  fs::remove(root_ / "val/class_0/more.jpg");
  std::ofstream(root_ / "train/class_1/a\nb.jpg") << "x";
  expect_error({path("train/class_1") + ": holds a name with a line break; rename it"});
}

TEST_F(ClassFoldersTest, AnEmptyClass) {
  fs::remove_all(root_ / "val/class_1");
  fs::create_directory(root_ / "val/class_1");
  expect_error({path("val/class_1") + ": holds no .jpg or .jpeg files; add some or remove the class"});
}

TEST_F(ClassFoldersTest, TheIndexHoldsWhatListingFinds) {
  open_class_folders(root_.string());
  ASSERT_TRUE(fs::exists(index()));
  EXPECT_TRUE(believed());
  const ClassFolders listed = list_class_folders(root_.string()), read = open_class_folders(root_.string());
  EXPECT_EQ(read.classes, listed.classes);
  for (const auto& [a, b] : {std::pair{&read.train, &listed.train}, {&read.val, &listed.val}}) {
    ASSERT_EQ(a->count(), b->count());
    for (int64_t file = 0; file < a->count(); ++file) {
      EXPECT_EQ(read.relative_path(*a, file), listed.relative_path(*b, file));
      EXPECT_EQ(a->bytes(file), b->bytes(file));
      EXPECT_EQ(a->label(file), b->label(file));
    }
  }
  // Nothing but the index was left behind.
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 3);
}

TEST_F(ClassFoldersTest, TheIndexIsNotBelievedAfterAChange) {
  open_class_folders(root_.string());
  const std::vector<std::pair<std::string, std::function<void()>>> changes{
      {"added", [&] { fs::copy_file(root_ / "train/class_0/0.jpg", root_ / "train/class_0/9.jpg"); }},
      {"removed", [&] { fs::remove(root_ / "train/class_0/9.jpg"); }},
      {"renamed", [&] { fs::rename(root_ / "val/class_2/0.jpg", root_ / "val/class_2/a.jpg"); }},
      {"new class",
       [&] {
         for (const char* part : {"train", "val"})
           fs::copy(root_ / part / "class_0", root_ / part / "class_9", fs::copy_options::recursive);
       }},
      {"another size", [&] { std::ofstream(root_ / "train/class_0/0.jpg", std::ios::app) << "x"; }},
      {"damaged index",
       [&] {
         std::fstream file(index());
         file.seekp(static_cast<std::streamoff>(fs::file_size(index()) / 2));
         file << "#";
       }},
      {"index cut short", [&] { fs::resize_file(index(), fs::file_size(index()) - 1); }},
      {"empty index", [&] { fs::resize_file(index(), 0); }}};
  for (const auto& [name, change] : changes) {
    ASSERT_TRUE(believed()) << name;
    change();
    if (name.find("index") == std::string::npos && name != "another size") set_back_times(root_);
    EXPECT_FALSE(believed()) << name;
    const ClassFolders read = open_class_folders(root_.string()), listed = list_class_folders(root_.string());
    EXPECT_EQ(read.train.count(), listed.train.count()) << name;
    EXPECT_EQ(read.train.bytes(0), listed.train.bytes(0)) << name;
  }
}

// A folder that was changed just now might be changed again without its time showing it.
TEST_F(ClassFoldersTest, NoIndexOfWhatHasJustChanged) {
  fs::copy_file(root_ / "train/class_0/0.jpg", root_ / "train/class_0/9.jpg");
  EXPECT_EQ(open_class_folders(root_.string()).train.count(), 25);
  EXPECT_FALSE(fs::exists(index()));
}

TEST_F(ClassFoldersTest, TheIndexGoesElsewhereWhereTheDataCantBeWritten) {
  // A folder in its place: nobody, root neither, can put a file there.
  fs::create_directories(index() / "x");
  open_class_folders(root_.string());
  const fs::path cache = folder_.path() / "cache/diffq";
  ASSERT_TRUE(fs::exists(cache));
  const fs::path file = fs::directory_iterator(cache)->path();
  fs::last_write_time(file, fs::file_time_type{});
  EXPECT_EQ(open_class_folders(root_.string()).train.count(), 24);
  EXPECT_EQ(fs::last_write_time(file), fs::file_time_type{});

  std::vector<std::string> warnings;
  set_data_warning([&](const std::string& text) { warnings.push_back(text); });
  fs::remove_all(folder_.path() / "cache");
  std::ofstream(folder_.path() / "cache") << "a file";
  EXPECT_EQ(open_class_folders(root_.string()).train.count(), 24);
  set_data_warning({});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find(index().string() + ": can't be written"), std::string::npos) << warnings[0];
}

}  // namespace
}  // namespace diffq
