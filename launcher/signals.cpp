#include "launcher/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace diffq {
namespace {

constexpr std::array kStops{SIGUSR2, SIGUSR1, SIGTERM, SIGINT, SIGCONT};
constexpr std::array kFatal{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

std::atomic<int> stop_signal{0};
std::atomic<bool> early_warning{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

char crash_path[4096];
char crash_who[512];
std::atomic<bool> crash_marked{false};
std::array<struct sigaction, kFatal.size()> before_crash;
std::array<struct sigaction, kStops.size()> before_stop;

void on_stop(int signal) {
  if (signal == SIGCONT) {
    early_warning = true;
  } else {
    int none = 0;
    stop_signal.compare_exchange_strong(none, signal);
  }
}

void write_text(int file, const char* text) {
  // Nothing can be done about a failure here.
  if (::write(file, text, std::strlen(text)) < 0) return;
}

void on_crash(int signal) {
  if (crash_marked.exchange(false)) {
    const int file = ::open(crash_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file >= 0) {
      write_text(file, crash_who);
      write_text(file, ::sigdescr_np(signal));
      write_text(file, "\n");
      ::close(file);
    }
  }
  // And now as ever: MPI's own handler, or the default.
  for (size_t i = 0; i < kFatal.size(); ++i) {
    if (kFatal[i] == signal) ::sigaction(signal, &before_crash[i], nullptr);
  }
  ::raise(signal);
}

template <size_t N>
void install(const std::array<int, N>& signals, std::array<struct sigaction, N>& before,
             void (*handler)(int)) {
  for (size_t i = 0; i < N; ++i) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    if (signals[i] == SIGINT) action.sa_flags |= SA_RESETHAND;  // the second one ends the process
    ::sigaction(signals[i], &action, &before[i]);
  }
}

template <size_t N>
void restore(const std::array<int, N>& signals, const std::array<struct sigaction, N>& before) {
  for (size_t i = 0; i < N; ++i) ::sigaction(signals[i], &before[i], nullptr);
}

void copy_text(char* to, size_t size, const std::string& text) {
  if (text.size() >= size) throw std::invalid_argument(text + ": is too long a path");
  std::memcpy(to, text.c_str(), text.size() + 1);
}

}  // namespace

StopSignals::StopSignals() {
  stop_signal = 0;
  early_warning = false;
  install(kStops, before_stop, on_stop);
}

StopSignals::~StopSignals() { restore(kStops, before_stop); }

Signal StopSignals::poll() const {
  if (stop_signal != 0) return Signal::stop;
  return early_warning.exchange(false) ? Signal::checkpoint : Signal::none;
}

std::string StopSignals::name() const {
  const int signal = stop_signal;
  return signal == 0 ? "" : std::string("SIG") + ::sigabbrev_np(signal);
}

CrashMark::CrashMark(const std::filesystem::path& path, const std::string& who)
    : path_(path), who_(who + ": ") {
  copy_text(crash_path, sizeof crash_path, path.string());
  copy_text(crash_who, sizeof crash_who, who_);
  crash_marked = true;
  install(kFatal, before_crash, on_crash);
}

CrashMark::~CrashMark() {
  restore(kFatal, before_crash);
  crash_marked = false;
}

void CrashMark::write(const std::string& what) const noexcept {
  try {
    std::ofstream(path_, std::ios::app) << who_ << what << std::endl;
  } catch (...) {
    // The sweep ends for another reason, which is told.
  }
}

}  // namespace diffq
