#pragma once
// The commands on packed model files. Each returns the exit code; wrong arguments and damaged files are
// thrown as std::invalid_argument that names the place.

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "launcher/device_choice.h"

namespace diffq {

/// How a model is exported: packed, or plain weights for other programs.
enum class ExportFormat { packed, fp32, fp16 };
inline constexpr std::array<std::pair<std::string_view, ExportFormat>, 3> kExportFormatNames{
    {{"packed", ExportFormat::packed}, {"fp32", ExportFormat::fp32}, {"fp16", ExportFormat::fp16}}};

struct ExportOptions {
  std::string folder, run;  ///< output folder of a sweep; run id, or its first digits
  std::string format;       ///< of kExportFormatNames
  std::string out;
  bool compress = false;
};
int export_command(const ExportOptions& options);

/// Prints what a model file holds.
int inspect_command(const std::string& file);

struct EvalOptions {
  std::string file;
  std::string data, root;  ///< a data set's name and its folder; "": as the file says
  DeviceChoice device = DeviceChoice::automatic;
};
/// Evaluates a packed file alone on its test data. The last line is "METRIC = VALUE".
int eval_command(const EvalOptions& options);

}  // namespace diffq
