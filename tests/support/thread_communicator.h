#pragma once
// Threads as ranks: a Communicator in the memory of one process, for tests of everything that is collective.
// It is stricter than MPI: ranks that make different calls, or sum ranges of different sizes, get an error
// that says who did what, and a rank that leaves early or stays away for a minute is noticed by the others.

#include <functional>
#include <mutex>

#include "trainer/communicator.h"

namespace diffq {

/// Runs `body` on `ranks` threads (of one torch thread each) that form a group. When all have ended, throws
/// what the lowest failing rank threw; errors that only tell of another rank's leaving come last.
void run_as_ranks(int ranks, const std::function<void(Communicator&)>& body);

/// A group of one, on the calling thread.
std::unique_ptr<Communicator> single_rank();

/// torch's default generator belongs to the whole process: hold this while drawing initial weights from it.
std::mutex& generator_mutex();

}  // namespace diffq
