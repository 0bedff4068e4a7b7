#include "trainer/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <fstream>
#include <string>

namespace diffq {
namespace {

double resident_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "VmRSS:" && status >> kib) return kib / 1024;
  }
  return 0;
}

long page_faults() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_minflt;
}

/// Larger than what glibc's malloc would ever keep (32 MB).
at::Tensor take_64_mb() { return at::zeros({64 << 18}); }

TEST(Memory, OfFreedTensorsIsTakenAgain) {
  take_64_mb();
  const long before = page_faults();
  for (int step = 0; step < 20; ++step) take_64_mb();
  EXPECT_LT(page_faults() - before, 100);
}

TEST(Memory, ThatIsFreeIsGivenBackByReset) {
  { const at::Tensor taken = take_64_mb(); }
  const double before = resident_mb();
  reset_peak_memory();
  EXPECT_LT(resident_mb(), before - 60);
}

TEST(Memory, PeakIsOfWhatWasTakenSinceReset) {
  { const at::Tensor taken = at::zeros({256 << 18}); }
  reset_peak_memory();
  const double before = peak_memory_mb();
  { const at::Tensor taken = take_64_mb(); }
  EXPECT_NEAR(peak_memory_mb(), before + 64, 4);
}

}  // namespace
}  // namespace diffq
