#pragma once
// Sweeps made in memory, for the tests of what hands out runs and remembers them.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "sweeps/sweep.h"

namespace diffq {

/// Runs "run0", "run1", …; entry i of `depends_on` is what run i starts from, or -1.
inline Sweep sweep_of(const std::vector<int>& depends_on) {
  Sweep sweep;
  sweep.name = "s";
  for (const int start : depends_on) {
    Run run;
    run.run_id = "run" + std::to_string(sweep.runs.size());
    run.origin = "benchmarks[0].methods[" + std::to_string(sweep.runs.size()) + "]";
    run.depends_on = start;
    run.config = nlohmann::json::object();
    sweep.runs.push_back(run);
  }
  return sweep;
}

inline std::vector<size_t> every_run(const Sweep& sweep) {
  std::vector<size_t> runs;
  for (size_t run = 0; run < sweep.runs.size(); ++run) runs.push_back(run);
  return runs;
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// What() of the exception of this kind that `call` throws; "" if it throws none.
template <class Kind, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Kind& error) {
    return error.what();
  }
  return "";
}

}  // namespace diffq
