#include "launcher/host_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "tests/mpi/groups.h"

namespace diffq {
namespace {

std::vector<RankPlace> places_on(std::initializer_list<int> nodes) {
  std::vector<RankPlace> places;
  for (const int node : nodes) places.push_back({node, "host" + std::to_string(node)});
  return places;
}

TEST(HostWatch, WatchesWhomItWaitsFor) {
  using Ranks = std::vector<int>;
  const auto places = places_on({0, 0, 2, 2, 4, 4});
  EXPECT_EQ(ranks_to_watch(places, 0, 2), (Ranks{2, 4})) << "the roots of the other hosts' groups";
  EXPECT_EQ(ranks_to_watch(places, 1, 2), Ranks{}) << "all it waits for is on its host";
  EXPECT_EQ(ranks_to_watch(places, 2, 2), Ranks{0});
  EXPECT_EQ(ranks_to_watch(places, 3, 2), Ranks{});
  EXPECT_EQ(ranks_to_watch(places, 0, 3), (Ranks{2, 3})) << "its group over two hosts, and the other root";
  EXPECT_EQ(ranks_to_watch(places, 1, 3), Ranks{2});
  EXPECT_EQ(ranks_to_watch(places, 5, 3), Ranks{3});
  EXPECT_EQ(ranks_to_watch(places_on({0, 0}), 0, 2), Ranks{});
}

// The last rank stops giving signs of life; rank 0, which watches it, and all that it tells, name its host.
TEST(HostWatch, NamesTheHostThatIsSilent) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const int last = world_size() - 1;
  std::vector<RankPlace> places(static_cast<size_t>(world_size()), {0, "near"});
  places.back() = {last, "far"};
  std::atomic<bool> alarmed = false;
  std::string told;
  {
    std::optional<HostWatch> watch(std::in_place, MPI_COMM_WORLD, places, ranks_to_watch(places, rank, 1),
                                   std::chrono::seconds(2), [&](const std::string& what) {
                                     told = what;
                                     alarmed = true;
                                   });
    std::this_thread::sleep_for(std::chrono::seconds(4));
    EXPECT_FALSE(alarmed) << "while all give signs: " << told;
    if (rank == last) watch.reset();
    const auto began = std::chrono::steady_clock::now();
    while (rank != last && !alarmed && std::chrono::steady_clock::now() - began < std::chrono::seconds(20))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(alarmed, rank != last);
  }
  if (rank != last) {
    EXPECT_EQ(told, "host far (rank " + std::to_string(last) + ") has given no sign of life for 2 s");
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
}  // namespace diffq
