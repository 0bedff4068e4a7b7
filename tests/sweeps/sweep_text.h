#pragma once
// Shared by the tests of sweeps/: reading with a fixed fingerprint, and the message of what is refused.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "sweeps/sweep.h"

namespace diffq {

inline Sweep read_text(const std::string& text, const std::vector<std::string>& overrides = {},
                       const std::string& fingerprint = "fixed") {
  return read_sweep(
      text, "s.json", overrides,
      {[&](const DataSpec&) { return fingerprint; }, [](const std::string& path) { return path; }});
}

/// The message with which read_sweep refuses the text; "" when it takes it.
inline std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    read_text(text, overrides);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

/// A sweep file that is refused.
struct Refusal {
  std::string text;
  std::string message;  ///< after "s.json: "
};

inline void expect_refused(const std::vector<Refusal>& cases) {
  for (const auto& [text, message] : cases) EXPECT_EQ(refusal(text), "s.json: " + message) << text;
}

inline std::string shipped(const std::string& name) {
  std::ifstream file(std::string(DIFFQ_SOURCE_DIR) + "/sweeps/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A sweep of one benchmark with these methods (JSON) and further keys of the benchmark (JSON, with a leading
/// comma).
inline std::string with_methods(const std::string& methods, const std::string& more = "") {
  return R"({"sweep": "s", "benchmarks": [{"data": {"name": "mnist", "root": "d"}, "model": {"name": "small_cnn"}, )"
         R"("methods": [)" +
         methods + "]" + more + "}]}";
}

}  // namespace diffq
