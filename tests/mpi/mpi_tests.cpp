// Tests of everything that is collective over real MPI. Run as mpirun -n 2 and -n 4; every rank runs every
// test, and any rank's failure fails the program.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "launcher/world.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const diffq::World world;
  at::set_num_threads(1);
  if (world.size() % 4 != 0) testing::GTEST_FLAG(filter) += ":-Ranks/EveryGroup.*/2";  // groups of 4
  // One voice is enough, unless another rank alone has something to complain about.
  if (world.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    class Complaints : public testing::EmptyTestEventListener {
      void OnTestPartResult(const testing::TestPartResult& result) override {
        if (result.failed())
          std::fprintf(stderr, "%s:%d: %s\n", result.file_name() ? result.file_name() : "?",
                       result.line_number(), result.message());
      }
    };
    listeners.Append(new Complaints);
  }
  const int failed = RUN_ALL_TESTS();
  world.barrier();
  return failed;
}
