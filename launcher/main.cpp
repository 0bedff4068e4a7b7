// diffq: the command line. Each command is one function; `diffq run` under mpirun is in run_sweep.cpp.

#include <mpi.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <stdexcept>

#include "launcher/commands.h"
#include "launcher/leave.h"
#include "launcher/model_commands.h"
#include "launcher/rank_memory.h"
#include "launcher/report_command.h"
#include "launcher/run_sweep.h"
#include "launcher/separate_command.h"
#include "launcher/verify.h"
#include "launcher/version.h"
#include "launcher/world.h"
#include "trainer/train_step.h"

namespace {

enum ExitCode { kDone = 0, kWrongInput = 2 };

// Messages quote names out of files and sweeps, whatever is in them.
std::string one_line(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

// Once and not per rank, for what all ranks see alike.
int wrong_input(const std::string& what) {
  if (diffq::launched_rank() == 0) std::fprintf(stderr, "diffq: error: %s\n", one_line(what).c_str());
  return kWrongInput;
}

bool mpi_is_running() {
  int started = 0, stopped = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&stopped);
  return started != 0 && stopped == 0;
}

// Of one rank: the others may be waiting for it, so the whole job has to end.
int internal_failure(const std::string& what) {
  std::fprintf(stderr, "diffq: error: [rank %d] %s\n", diffq::launched_rank(), one_line(what).c_str());
  if (mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, diffq::kInternal);
  return diffq::kInternal;
}

struct Arguments {
  std::string folder;
  std::string path, request;
  bool deep = false, watch = false;
  diffq::ExportOptions model_export;
  diffq::EvalOptions eval;
  diffq::SeparateOptions separate;
  diffq::PlanOptions plan;
  diffq::RunOptions run;
  diffq::ReportOptions report;
};

// From the word to the number that CLI11 makes a DeviceChoice of.
std::string device_number(std::string& word) {
  for (const auto& [name, choice] : diffq::kDeviceChoiceNames) {
    if (word != name) continue;
    word = std::to_string(static_cast<int>(choice));
    return "";
  }
  return "must be auto, cpu or cuda, not " + word;
}

void add_device(CLI::App* command, diffq::DeviceChoice& choice, const std::string& help) {
  command->add_option("--device", choice, help)
      ->transform(CLI::Validator(device_number, ""))
      ->type_name("DEVICE");
}

void add_commands(CLI::App& app, Arguments& arguments) {
  app.set_version_flag("--version", "diffq " + diffq::program_version() + " (" + diffq::git_commit() + ")");
  app.require_subcommand(1);
  const std::string set_help = "Override one value, such as benchmarks.0.train.epochs=1 (JSON on the right)";
  const std::string set_form = "NAME=VALUE, once or more";
  const std::string only_help = "Only the runs that match, such as method=qat,seed=1";
  const std::string alone_help = "auto (a GPU where there is one, else cpu), cpu or cuda";
  const std::string shard_help = "Only part i of N of the sweep: i/N, i from 0";

  CLI::App* plan =
      app.add_subcommand("plan", "Check a sweep file; list its runs, what they start from, sizes, memory");
  plan->add_option("SWEEP.json", arguments.plan.sweep_file)->required();
  plan->add_option("--set", arguments.plan.overrides, set_help)
      ->allow_extra_args(false)
      ->option_text(set_form);
  plan->add_option("--only", arguments.plan.only, only_help);
  plan->add_option("--shard", arguments.plan.shard, shard_help);
  plan->add_option("--out", arguments.plan.out, "Also show what is done in this output folder");

  CLI::App* dry_run =
      app.add_subcommand("dry-run", "What plan starts to measure memory")->group("");  // hidden
  dry_run->add_option("REQUEST", arguments.request)->required();

  CLI::App* run = app.add_subcommand("run", "Train what is missing of a sweep; under mpirun -n N on N ranks");
  run->add_option("SWEEP.json", arguments.run.sweep_file)->required();
  run->add_option("--out", arguments.run.out, "Output folder; the same again goes on where it stopped")
      ->required();
  run->add_option("--set", arguments.run.overrides, set_help)->allow_extra_args(false)->option_text(set_form);
  run->add_option("--only", arguments.run.only, only_help);
  run->add_option("--shard", arguments.run.shard, shard_help);
  add_device(run, arguments.run.device,
             "auto (a GPU for each rank where there are any, else cpu), cpu or cuda");
  run->add_option("--ranks-per-gpu", arguments.run.ranks_per_gpu,
                  "As many ranks may share a GPU (default 1; groups that do need NCCL 2.30)")
      ->check(CLI::Range(1, 64));
  run->add_option("--collective-deadline", arguments.run.collective_deadline_seconds,
                  "Seconds after which a sum over GPUs counts as lost (default 300)")
      ->check(CLI::Range(1, 1000000));
  run->add_option("--max-minutes", arguments.run.max_minutes,
                  "Stop after so many minutes: every run writes a checkpoint; exit code 75")
      ->check(CLI::Range(0.0, 1e9));
  run->add_option("--max-starts", arguments.run.max_starts,
                  "Give a run up after so many starts without a new checkpoint")
      ->check(CLI::Range(1, 1000000));
  run->add_option("--host-deadline", arguments.run.host_deadline_seconds,
                  "Seconds without a sign of life after which a host counts as lost (default 120)")
      ->check(CLI::Range(1, 1000000));
  run->add_flag("--retry-failed", arguments.run.retry_failed, "Train failed runs again");
  run->add_flag("--quiet", arguments.run.quiet, "No progress and no table");

  CLI::App* status = app.add_subcommand("status", "How far a sweep is, also while it runs elsewhere");
  status->add_option("DIR", arguments.folder)->required();
  status->add_flag("--watch", arguments.watch, "Again every few seconds, until the sweep ends");

  CLI::App* report =
      app.add_subcommand("report", "Compare methods, from the results.h5 of one or more output folders");
  report->add_option("DIR", arguments.report.folders)->required();
  report->add_option("--html", arguments.report.html,
                     "Where to write (default: DIR/report.html; of several DIRs joined.html in the first)");
  report->add_option("--markdown", arguments.report.markdown,
                     "Where to write (default: DIR/report.md or joined.md)");
  report->add_option("--csv", arguments.report.csv,
                     "Where to write (default: DIR/results.csv or joined.csv)");
  report->add_flag("--watch", arguments.report.watch,
                   "Write again while the sweep runs; the page loads itself again");

  CLI::App* verify =
      app.add_subcommand("verify", "Check that an output folder, or one of its files, is whole");
  verify->add_option("PATH", arguments.path)->required();
  verify->add_flag("--deep", arguments.deep, "Open every file, not only compare it with the journal's sums");

  CLI::App* model_export =
      app.add_subcommand("export", "Write the model of a finished run for use elsewhere");
  model_export->add_option("DIR", arguments.model_export.folder)->required();
  model_export->add_option("RUN", arguments.model_export.run, "Run id, or its first digits")->required();
  model_export->add_option("--format", arguments.model_export.format, "packed, fp32 or fp16")->required();
  model_export->add_option("--out", arguments.model_export.out, "Where to write (.safetensors)")->required();
  model_export->add_flag("--compress", arguments.model_export.compress,
                         "packed: with its levels entropy coded");

  CLI::App* inspect = app.add_subcommand("inspect", "What a model file holds: sizes, bits of every tensor");
  inspect->add_option("FILE", arguments.path)->required();

  CLI::App* eval = app.add_subcommand("eval", "Evaluate a packed model file alone, on the test data");
  eval->add_option("FILE", arguments.eval.file)->required();
  eval->add_option("--data", arguments.eval.data, "Name of the data set (default: what it was trained on)");
  eval->add_option("--root", arguments.eval.root, "Folder of the data (default: where it was)");
  add_device(eval, arguments.eval.device, alone_help);

  CLI::App* separate = app.add_subcommand("separate", "Separate a track of music into its stems");
  separate->add_option("FILE", arguments.separate.model, "Packed model")->required();
  separate->add_option("INPUT.wav", arguments.separate.input, "Of any rate; WAV, FLAC or the like")
      ->required();
  separate->add_option("--out", arguments.separate.out, "Folder for the stems")->required();
  add_device(separate, arguments.separate.device, alone_help);
}

int dispatch(const CLI::App& app, const Arguments& arguments) {
  if (app.got_subcommand("plan")) return diffq::plan_command(arguments.plan, "/proc/self/exe");
  if (app.got_subcommand("dry-run")) return diffq::dry_run_command(arguments.request);
  if (app.got_subcommand("run")) return diffq::run_sweep(arguments.run);
  if (app.got_subcommand("status")) return diffq::status_command(arguments.folder, arguments.watch);
  if (app.got_subcommand("verify")) return diffq::verify_command(arguments.path, arguments.deep);
  if (app.got_subcommand("export")) return diffq::export_command(arguments.model_export);
  if (app.got_subcommand("inspect")) return diffq::inspect_command(arguments.path);
  if (app.got_subcommand("eval")) return diffq::eval_command(arguments.eval);
  if (app.got_subcommand("separate")) return diffq::separate_command(arguments.separate);
  return diffq::report_command(arguments.report);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("diffq: trains networks together with their bit-widths, sweeps λ, compares with STE baselines",
               "diffq");
  Arguments arguments;
  add_commands(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0)
      return diffq::launched_rank() == 0 ? app.exit(error) : 0;  // --help, --version
    const std::string first = argc > 1 ? argv[1] : "-";
    if (app.get_subcommands().empty() && first[0] != '-') {
      return wrong_input("command line: \"" + first +
                         "\" is no command; the commands are plan, run, status, report, verify, export, "
                         "inspect, eval, separate");
    }
    return wrong_input(std::string("command line: ") + error.what() + "; see diffq --help");
  }
  try {
    return dispatch(app, arguments);
  } catch (const std::invalid_argument& error) {
    // `run` tells of wrong input by its exit code; what it throws concerns one rank.
    return mpi_is_running() ? internal_failure(error.what()) : wrong_input(error.what());
  } catch (const std::exception& error) {
    return internal_failure(diffq::reason_of(error));
  }
}
