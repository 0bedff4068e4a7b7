#include "launcher/queue_service.h"

#include <chrono>

#include "launcher/progress_line.h"
#include "launcher/world.h"

namespace diffq {
namespace {

constexpr int kMessageTag = 1, kAnswerTag = 2;
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
  return run;
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

void QueueClient::done(size_t run, const RunRecord& record) {
  send({{"kind", "done"}, {"run", run}, {"group", group_}, {"record", to_json(record)}});
}

void QueueClient::failed(size_t run, const std::string& reason) {
  send({{"kind", "failed"}, {"run", run}, {"group", group_}, {"reason", reason}});
}

QueueService::QueueService(MPI_Comm communicator, int groups, SweepState& state, ProgressLine& progress)
    : communicator_(communicator), groups_(groups), state_(state), progress_(progress), thread_([this] {
        serve();
      }) {}

QueueService::~QueueService() {
  abandoned_ = true;
  if (thread_.joinable()) thread_.join();
}

void QueueService::join() {
  thread_.join();
  if (error_) std::rethrow_exception(error_);
}

void QueueService::serve() {
  while (dismissed_ < groups_ && !abandoned_) {
    try {
      int source = 0;
      const auto text = receive(communicator_, source);
      if (text) handle(nlohmann::json::parse(*text), source);
      answer_waiting();
      progress_.refresh();
      if (!text) std::this_thread::sleep_for(kPause);
    } catch (...) {
      // The first error is the one to tell; from now on groups are sent home.
      if (!error_) error_ = std::current_exception();
    }
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
    state_.done(run, record);
    progress_.done(message.at("group"), run, record.run);
  } else {
    state_.failed(run, message.at("reason"));
    progress_.failed(message.at("group"), run, message.at("reason"));
  }
}

void QueueService::answer_waiting() {
  for (size_t i = 0; i < waiting_.size();) {
    const Waiting asked = waiting_[i];
    std::optional<size_t> run;
    if (!error_) run = state_.next(asked.group);
    if (!run && !error_ && !state_.exhausted()) {
      ++i;  // what it could start from is still being trained by another group
      continue;
    }
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    const int answer = run ? static_cast<int>(*run) : kNone;
    if (!run) ++dismissed_;
    check_mpi(MPI_Send(&answer, 1, MPI_INT, asked.source, kAnswerTag, communicator_), "MPI_Send");
  }
}

}  // namespace diffq
