#include "launcher/queue_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "launcher/progress.h"
#include "launcher/world.h"

namespace diffq {
namespace {

constexpr int kMessageTag = 1, kAnswerTag = 2, kStopTag = 3;
constexpr int kNone = -1;
constexpr auto kPause = std::chrono::milliseconds(5);

// A whole message if one has arrived.
std::optional<std::string> receive(MPI_Comm communicator, int& source) {
  int arrived = 0;
  MPI_Status status;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kMessageTag, communicator, &arrived, &status), "MPI_Iprobe");
  if (arrived == 0) return std::nullopt;
  int length = 0;
  check_mpi(MPI_Get_count(&status, MPI_CHAR, &length), "MPI_Get_count");
  std::string text(static_cast<size_t>(length), '\0');
  source = status.MPI_SOURCE;
  check_mpi(MPI_Recv(text.data(), length, MPI_CHAR, source, kMessageTag, communicator, MPI_STATUS_IGNORE),
            "MPI_Recv");
  return text;
}

// An epoch travels as a record without run or layers.
nlohmann::json epoch_json(const EpochRow& row) {
  RunRecord record;
  record.epochs.push_back(row);
  return to_json(record);
}

}  // namespace

void QueueClient::send(const nlohmann::json& message) {
  const std::string text = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  check_mpi(MPI_Send(text.data(), static_cast<int>(text.size()), MPI_CHAR, 0, kMessageTag, communicator_),
            "MPI_Send");
}

int QueueClient::next() {
  send({{"kind", "next"}, {"group", group_}});
  int run = kNone;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(&run, 1, MPI_INT, 0, kAnswerTag, communicator_, &request), "MPI_Irecv");
  wait_politely(request);
  // Sent before the answer, if at all: then it has arrived, and nothing is left behind.
  if (run == kNone) told_to_stop();
  return run;
}

bool QueueClient::told_to_stop() {
  int arrived = stop_;
  if (!stop_) check_mpi(MPI_Iprobe(0, kStopTag, communicator_, &arrived, MPI_STATUS_IGNORE), "MPI_Iprobe");
  if (!stop_ && arrived != 0) {
    check_mpi(MPI_Recv(nullptr, 0, MPI_BYTE, 0, kStopTag, communicator_, MPI_STATUS_IGNORE), "MPI_Recv");
    stop_ = true;
  }
  return stop_;
}

void QueueClient::progress(size_t run, const RunProgress& progress) {
  send({{"kind", "progress"},
        {"run", run},
        {"group", group_},
        {"epoch", progress.epoch},
        {"epochs", progress.epochs},
        {"step", progress.step},
        {"steps", progress.steps},
        {"loss", progress.loss}});
}

void QueueClient::epoch(size_t run, const EpochRow& row) {
  send({{"kind", "epoch"}, {"run", run}, {"record", epoch_json(row)}});
}

void QueueClient::done(size_t run, const RunRecord& record, const nlohmann::json& files) {
  send({{"kind", "done"}, {"run", run}, {"group", group_}, {"record", to_json(record)}, {"files", files}});
}

void QueueClient::failed(size_t run, const std::string& reason) {
  send({{"kind", "failed"}, {"run", run}, {"group", group_}, {"reason", reason}});
}

void QueueClient::stopped(size_t run) { send({{"kind", "stopped"}, {"run", run}, {"group", group_}}); }

QueueService::QueueService(MPI_Comm communicator, int groups, int ranks_per_group, SweepState& state,
                           Progress& progress, Housekeeping housekeeping)
    : communicator_(communicator),
      ranks_per_group_(ranks_per_group),
      state_(state),
      progress_(progress),
      housekeeping_(std::move(housekeeping)),
      dismissed_(static_cast<size_t>(groups)),
      thread_([this] { serve(); }) {}

QueueService::~QueueService() {
  abandoned_ = true;
  if (thread_.joinable()) thread_.join();
}

void QueueService::join() {
  thread_.join();
  if (error_) std::rethrow_exception(error_);
}

void QueueService::serve() {
  while (std::ranges::count(dismissed_, false) > 0 && !abandoned_) {
    try {
      serve_once();
    } catch (...) {
      // The first error is the one to tell; from now on groups are sent home.
      if (!error_) error_ = std::current_exception();
      tell_groups_to_stop();
    }
  }
  if (!abandoned_) MPI_Waitall(static_cast<int>(told_.size()), told_.data(), MPI_STATUSES_IGNORE);
}

void QueueService::serve_once() {
  // All that has come, so that one sync of the journal serves many answers.
  bool idle = true;
  int source = 0;
  while (const auto text = receive(communicator_, source)) {
    idle = false;
    handle(nlohmann::json::parse(*text), source);
  }
  if (!error_) {
    const std::string reason = housekeeping_();
    if (!reason.empty()) stop(reason);
  }
  answer_waiting();
  progress_.refresh();
  if (idle) std::this_thread::sleep_for(kPause);
}

void QueueService::stop(const std::string& reason) {
  if (stopping_) return;
  tell_groups_to_stop();
  progress_.stopping(reason);
  state_.stop(reason);
}

void QueueService::tell_groups_to_stop() {
  if (std::exchange(stopping_, true)) return;
  for (size_t group = 0; group < dismissed_.size(); ++group) {
    if (dismissed_[group]) continue;
    const int root = static_cast<int>(group) * ranks_per_group_;
    check_mpi(MPI_Isend(nullptr, 0, MPI_BYTE, root, kStopTag, communicator_, &told_.emplace_back()),
              "MPI_Isend");
  }
}

void QueueService::handle(const nlohmann::json& message, int source) {
  const std::string kind = message.at("kind");
  if (kind == "next") {
    waiting_.push_back({source, message.at("group")});
    return;
  }
  if (error_) return;
  const size_t run = message.at("run");
  if (kind == "progress") {
    progress_.step(message.at("group"), run,
                   {message.at("epoch"), message.at("epochs"), message.at("step"), message.at("steps"),
                    message.at("loss").is_null() ? kNotApplicable : message.at("loss").get<double>()});
  } else if (kind == "epoch") {
    const RunRecord record = record_from_json(message.at("record"));
    state_.epoch(run, record.epochs.front());
  } else if (kind == "done") {
    const RunRecord record = record_from_json(message.at("record"));
    state_.done(run, record, message.at("files"));
    progress_.done(message.at("group"), run, record.run);
  } else if (kind == "stopped") {
    // Only some ranks may have had the signal, or this one so lately that it was not looked for again.
    const std::string reason = housekeeping_();
    stop(!reason.empty() ? reason
                         : "group " + std::to_string(message.at("group").get<int>()) + " was told to stop");
    state_.stopped(run);
    progress_.stopped(message.at("group"), run);
  } else {
    state_.failed(run, message.at("reason"));
    progress_.failed(message.at("group"), run, message.at("reason"));
  }
}

void QueueService::answer_waiting() {
  std::vector<std::pair<Waiting, int>> answers;
  std::vector<Waiting> still;
  for (const Waiting& asked : waiting_) {
    std::optional<size_t> run;
    if (!error_) run = state_.next(asked.group);
    if (!run && !error_ && !state_.exhausted()) {
      still.push_back(asked);  // what it could start from is still being trained by another group
    } else {
      answers.emplace_back(asked, run ? static_cast<int>(*run) : kNone);
    }
  }
  if (!error_) state_.sync();
  waiting_ = std::move(still);
  for (const auto& [asked, answer] : answers) {
    if (answer == kNone) {
      dismissed_[static_cast<size_t>(asked.group)] = true;
    } else {
      progress_.started(asked.group, static_cast<size_t>(answer));
    }
    check_mpi(MPI_Send(&answer, 1, MPI_INT, asked.source, kAnswerTag, communicator_), "MPI_Send");
  }
}

}  // namespace diffq
