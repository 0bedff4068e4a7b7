#pragma once
// `diffq report`: the report of one or more output folders, once or, with --watch, until their sweeps are
// over.

#include <string>
#include <vector>

namespace diffq {

struct ReportOptions {
  std::vector<std::string> folders;
  std::string html, markdown, csv;  ///< where to write; "": in the first folder
  bool watch = false;
};

/// Writes the report from results.h5 of all folders together, and prints the comparison table. With `watch`
/// the report is written again whenever a results.h5 has changed, as a page that loads itself again; it ends,
/// with a page that no longer does, when every sweep has ended or on SIGINT or SIGTERM. Returns the exit
/// code.
int report_command(const ReportOptions& options);

}  // namespace diffq
