#include "results/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace diffq {
namespace {

void sync_path(const std::filesystem::path& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC);
  const bool synced = file >= 0 && ::fsync(file) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  if (!synced) throw std::runtime_error(path.string() + ": can't be synced to disk: " + std::strerror(error));
}

}  // namespace

void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  // The process's number keeps two writers (a left-over of a killed run and its successor) apart.
  const std::filesystem::path temporary =
      folder / ("." + path.filename().string() + ".tmp" + std::to_string(::getpid()));
  try {
    write(temporary);
    sync_path(temporary, O_RDONLY);
    std::filesystem::rename(temporary, path);
    sync_path(folder, O_RDONLY | O_DIRECTORY);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

void replace_file(const std::filesystem::path& path, const std::string& text) {
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream file(temporary, std::ios::binary);
    file << text;
    file.close();
    if (!file) throw std::runtime_error(path.string() + ": can't be written: " + std::strerror(errno));
  });
}

void remove_temporaries(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename();
    if (name.starts_with(".") && name.find(".tmp") != std::string::npos)
      std::filesystem::remove(file.path(), ignored);
  }
}

}  // namespace diffq
