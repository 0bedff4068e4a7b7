#include "results/tables.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "results/columns.h"
#include "tests/results/sample_results.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

// The same bits: NaN equals NaN, and -0 differs from 0.
bool same(double a, double b) { return std::isnan(a) ? std::isnan(b) : std::memcmp(&a, &b, sizeof(a)) == 0; }
template <class Value>
bool same(const Value& a, const Value& b) {
  return a == b;
}

template <class Row>
void expect_same(const std::vector<Row>& actual, const std::vector<Row>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t r = 0; r < actual.size(); ++r) {
    for (const Column<Row>& column : columns<Row>()) {
      visit_field(actual[r], column, [&](const auto& a) {
        visit_field(expected[r], column, [&](const auto& b) {
          if constexpr (std::is_same_v<decltype(a), decltype(b)>) {
            EXPECT_TRUE(same(a, b)) << "row " << r << ", column " << column.name << ": " << a << " for " << b;
          }
        });
      });
    }
  }
}

void expect_same(const ResultFile& actual, const ResultFile& expected) {
  EXPECT_EQ(actual.sweep, expected.sweep);
  EXPECT_EQ(actual.program_version, expected.program_version);
  EXPECT_EQ(actual.git_commit, expected.git_commit);
  expect_same(actual.runs, expected.runs);
  expect_same(actual.epochs, expected.epochs);
  expect_same(actual.layers, expected.layers);
  expect_same(actual.tracks, expected.tracks);
  expect_same(actual.environment, expected.environment);
  expect_same(actual.sweeps, expected.sweeps);
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

size_t files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(Tables, EveryValueComesBack) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  write_results(path, sample_results());
  expect_same(read_results(path), sample_results());
  EXPECT_EQ(files_in(folder.path()), 1u) << "a temporary file was left";
}

TEST(Tables, EveryColumnIsKept) {
  // A value of its own in each member: two columns swapped, or one forgotten, would show.
  ResultFile results;
  int counter = 0;
  const auto fill = [&](auto& rows) {
    auto& row = rows.emplace_back();
    for (const auto& column : columns<std::remove_reference_t<decltype(row)>>()) {
      visit_field(row, column, [&](auto& value) {
        if constexpr (std::is_same_v<decltype(value), std::string&>) {
          value = column.name + std::to_string(++counter);
        } else {
          value = static_cast<std::remove_reference_t<decltype(value)>>(++counter);
        }
      });
    }
  };
  fill(results.runs);
  fill(results.epochs);
  fill(results.layers);
  fill(results.tracks);
  fill(results.environment);
  fill(results.sweeps);
  EXPECT_EQ(results.runs[0].lambda, 6);  // the sixth column of CONTRACT order
  EXPECT_EQ(results.layers[0].bits[15], results.layers[0].bits[0] + 15);
  const TemporaryFolder folder;
  write_results(folder.path() / "x.h5", results);
  expect_same(read_results(folder.path() / "x.h5"), results);
}

TEST(Tables, EmptyTablesAndReplacing) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  write_results(path, sample_results());
  write_results(path, {});
  expect_same(read_results(path), {});
}

TEST(Tables, ManyRows) {
  ResultFile results;
  for (int i = 0; i < 20000; ++i) {
    EpochRow row;
    row.run_id = "run" + std::to_string(i % 97);
    row.epoch = i;
    row.train_loss = 1.0 / (i + 1);
    results.epochs.push_back(row);
  }
  const TemporaryFolder folder;
  write_results(folder.path() / "x.h5", results);
  expect_same(read_results(folder.path() / "x.h5"), results);
}

TEST(Tables, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  ResultFile results;
  results.runs.resize(1);
  results.runs[0].reason = "a\xFFz \xE2\x82 \xED\xA0\x80 λ";
  const TemporaryFolder folder;
  write_results(folder.path() / "x.h5", results);
  EXPECT_EQ(read_results(folder.path() / "x.h5").runs[0].reason,
            "a\uFFFDz \uFFFD\uFFFD \uFFFD\uFFFD\uFFFD λ");
}

TEST(Tables, LeftOverTemporaryFilesDoNotMatter) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  write_bytes(folder.path() / (".results.h5.tmp" + std::to_string(::getpid())), "half of a file");
  write_bytes(folder.path() / ".results.h5.tmp1", "half of a file");
  write_results(path, sample_results());
  expect_same(read_results(path), sample_results());
}

TEST(Tables, AFailedWriteNamesThePathAndLeavesTheOldFile) {
  const TemporaryFolder folder;
  EXPECT_NE(error_of([&] {
              write_results(folder.path() / "no" / "r.h5", {});
            }).find((folder.path() / "no" / "r.h5").string()),
            std::string::npos);
  EXPECT_NE(error_of([&] { write_results(folder.path(), {}); }).find(folder.path().string()),
            std::string::npos);

  // A full disk, as a limit on the size of files: for root, an unwritable folder is writable.
  const fs::path path = folder.path() / "results.h5";
  write_results(path, {});
  const std::string before = bytes_of(path);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  const rlimit small{10000, unlimited.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = error_of([&] { write_results(path, sample_results()); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  EXPECT_NE(error.find(path.string()), std::string::npos) << error;
  EXPECT_EQ(bytes_of(path), before);
  EXPECT_EQ(files_in(folder.path()), 1u);
  write_results(path, sample_results());
  expect_same(read_results(path), sample_results());
}

TEST(Tables, AnUnwritableFolderIsAnErrorThatNamesThePath) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  write_results(path, {});
  const std::string before = bytes_of(path);
  const pid_t child = fork();
  if (child == 0) {  // as nobody, since root may write anywhere
    ::chmod(folder.path().c_str(), 0555);
    if (::getuid() == 0 && ::setuid(65534) != 0) _exit(2);
    _exit(error_of([&] { write_results(path, sample_results()); }).find(path.string()) == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(bytes_of(path), before);
}

TEST(Tables, ThreadsWriteAndReadAtOnce) {
  const TemporaryFolder folder;
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < errors.size(); ++t) {
    threads.emplace_back([&, t] {
      errors[t] = error_of([&] {
        ResultFile results = sample_results();
        results.sweep = std::to_string(t);
        const fs::path own = folder.path() / (results.sweep + ".h5");
        for (int i = 0; i < 8; ++i) {
          write_results(own, results);
          write_results(folder.path() / "shared.h5", results);
          if (read_results(own).sweep != results.sweep) throw std::runtime_error("another thread's file");
          read_results(folder.path() / "shared.h5");
        }
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "no error");
}

TEST(Tables, MissingEmptyAndForeignFilesAreNamed) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  const auto read = [&] { read_results(path); };
  EXPECT_EQ(error_of(read), path.string() + ": no such file");
  EXPECT_EQ(error_of([&] { read_results(folder.path()); }), folder.path().string() + ": not a file");
  write_bytes(path, "");
  EXPECT_EQ(error_of(read), path.string() + ": is empty");
  write_bytes(path, "λ is not HDF5");
  EXPECT_EQ(error_of(read).find(path.string() + ": not a whole HDF5 file"), 0u) << error_of(read);
  std::mt19937 random(1);
  std::string noise(5000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  write_bytes(path, noise);
  EXPECT_EQ(error_of(read).find(path.string()), 0u);
  write_bytes(path, "\x89HDF\r\n\x1a\n" + noise);
  EXPECT_EQ(error_of(read).find(path.string()), 0u);
}

/// Small, so that many bytes are HDF5's own.
ResultFile small_results() {
  ResultFile results;
  results.runs.resize(1);
  results.runs[0].run_id = "0123456789ab";
  results.runs[0].config_json = "{}";
  return results;
}

TEST(Tables, TruncatedAtAnyPlace) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  write_results(path, small_results());
  const std::string whole = bytes_of(path);
  expect_same(read_results(path), small_results());
  const size_t seal = whole.find("\ndiffq-crc32 ");
  ASSERT_NE(seal, std::string::npos);
  for (size_t length = 0; length < seal; length += 61) {
    write_bytes(path, whole.substr(0, length));
    EXPECT_EQ(error_of([&] { read_results(path); }).find(path.string() + ": "), 0u) << length;
  }
}

TEST(Tables, AFileWithoutItsLastLineIsRead) {
  const TemporaryFolder folder;  // as after another program has changed it
  const fs::path path = folder.path() / "results.h5";
  write_results(path, small_results());
  const std::string whole = bytes_of(path);
  write_bytes(path, whole.substr(0, whole.find("\ndiffq-crc32 ")));
  expect_same(read_results(path), small_results());
}

TEST(Tables, DamagedAtAnyPlaceIsNeverReadAsSomethingElse) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "results.h5";
  write_results(path, small_results());
  const std::string whole = bytes_of(path);
  expect_same(read_results(path), small_results());
  size_t found = 0, tried = 0;
  for (size_t at = 0; at < whole.size(); at += 23) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    write_bytes(path, damaged);
    ResultFile read;
    const std::string error = error_of([&] { read = read_results(path); });
    ++tried;
    if (error == "no error") {
      expect_same(read, small_results());  // the line with the sum itself
    } else {
      EXPECT_EQ(error.find(path.string() + ": "), 0u) << error;
      ++found;
    }
  }
  EXPECT_GT(found, tried - 4);
}

}  // namespace
}  // namespace diffq
