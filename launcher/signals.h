#pragma once
// Signals: those that ask a sweep to stop, and the mark that a run leaves when it takes its process with it.
// A handler can reach nothing but statics, so this file's are the only ones of the program.

#include <filesystem>
#include <string>

#include "trainer/train_run.h"

namespace diffq {

/// While it lives, USR2, USR1, TERM and INT are remembered instead of ending the process (a second INT ends
/// it at once), and so is CONT, which is all that mpirun sends a second before TERM. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// stop: from the first such signal on, for good; checkpoint: once after each CONT.
  Signal poll() const;
  /// What asked to stop: "SIGUSR2", or empty while nothing has.
  std::string name() const;
};

/// While it lives, a fatal signal (a bad access, an abort after an exception that nobody caught, …) adds a
/// line to the file at `path` before it ends the process as ever. One at a time.
class CrashMark {
 public:
  /// `who`: this rank, as the line has it.
  CrashMark(const std::filesystem::path& path, const std::string& who);
  ~CrashMark();
  CrashMark(const CrashMark&) = delete;
  CrashMark& operator=(const CrashMark&) = delete;

  /// Adds a line for what ends the process otherwise.
  void write(const std::string& what) const noexcept;

 private:
  std::filesystem::path path_;
  std::string who_;
};

}  // namespace diffq
