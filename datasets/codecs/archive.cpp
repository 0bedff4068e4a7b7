#include "datasets/codecs/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "datasets/fail.h"

namespace diffq {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 20;

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), archive_(archive_read_new()) {
    archive_read_support_filter_gzip(archive_.get());
    archive_read_support_format_tar(archive_.get());
    check(archive_read_open_filename(archive_.get(), path.c_str(), kBlockBytes));
  }

  /// The next member, or null after the last.
  archive_entry* next() {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(archive_.get(), &entry);
    if (status == ARCHIVE_EOF) return nullptr;
    check(status);
    return entry;
  }

  /// What this member holds. Its size in the header is not trusted: memory grows with what is really there.
  std::vector<uint8_t> read() {
    std::vector<uint8_t> bytes, block(kBlockBytes);
    while (true) {
      const la_ssize_t count = archive_read_data(archive_.get(), block.data(), block.size());
      if (count < 0) check(static_cast<int>(count));
      if (count <= 0) return bytes;
      bytes.insert(bytes.end(), block.begin(), block.begin() + count);
    }
  }

 private:
  void check(int status) const {
    if (status == ARCHIVE_OK || status == ARCHIVE_WARN) return;
    const char* text = archive_error_string(archive_.get());
    fail(path_, "can't be read as a tar archive (" + std::string(text ? text : "unknown error") +
                    "); fetch or copy it again");
  }

  struct Free {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  const std::string& path_;
  std::unique_ptr<archive, Free> archive_;
};

}  // namespace

std::vector<ArchiveMember> read_archive(const std::string& path, std::span<const std::string> names) {
  Reader reader(path);
  std::vector<ArchiveMember> members;
  while (archive_entry* entry = reader.next()) {
    const char* name = archive_entry_pathname(entry);
    if (!name || archive_entry_filetype(entry) != AE_IFREG) continue;
    const std::string file = std::filesystem::path(name).filename().string();
    if (std::ranges::find(names, file) == names.end()) continue;
    std::string full = name;  // the entry is gone once its data is read
    members.push_back({std::move(full), reader.read()});
  }
  return members;
}

}  // namespace diffq
