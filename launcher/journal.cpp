#include "launcher/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <stdexcept>

namespace diffq {
namespace {

constexpr const char* kTimeFormat = "%Y-%m-%dT%H:%M:%SZ";

bool ends_torn(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || file.tellg() == std::streampos(0)) return false;
  file.seekg(-1, std::ios::end);
  return file.get() != '\n';
}

}  // namespace

Journal::Journal(const std::filesystem::path& path) : path_(path) {
  const bool torn = ends_torn(path);
  file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) throw std::runtime_error(path.string() + ": can't be opened: " + std::strerror(errno));
  if (torn && ::write(file_, "\n", 1) != 1) {
    throw std::runtime_error(path.string() + ": can't be written: " + std::strerror(errno));
  }
}

Journal::~Journal() { ::close(file_); }

void Journal::append(nlohmann::json event) {
  event["time"] = utc_now();
  const std::string line = event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  size_t written = 0;
  while (written < line.size()) {
    const ssize_t count = ::write(file_, line.data() + written, line.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw std::runtime_error(path_.string() + ": can't be written: " + std::strerror(errno));
    written += static_cast<size_t>(count);
  }
  synced_ = false;
}

void Journal::sync() {
  if (synced_) return;
  if (::fdatasync(file_) != 0)
    throw std::runtime_error(path_.string() + ": can't be synced: " + std::strerror(errno));
  synced_ = true;
}

std::vector<nlohmann::json> read_journal(const std::filesystem::path& path) {
  std::vector<nlohmann::json> events;
  std::ifstream file(path, std::ios::binary);
  std::string line;
  int number = 0, damaged = 0;
  while (std::getline(file, line)) {
    ++number;
    if (line.empty()) continue;
    auto event = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object() || !event.contains("event") || !event["event"].is_string()) {
      // Torn by a kill: fine at the end of what one start wrote, which the next start closed with a line
      // break.
      damaged = number;
      continue;
    }
    if (damaged != 0 && event.value("event", "") != "sweep_started") {
      throw std::invalid_argument(path.string() + ": line " + std::to_string(damaged) +
                                  " is damaged; restore the file or remove that line");
    }
    damaged = 0;
    events.push_back(std::move(event));
  }
  return events;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), kTimeFormat, &parts);
  return text;
}

}  // namespace diffq
