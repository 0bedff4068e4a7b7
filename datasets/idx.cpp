#include "datasets/idx.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <type_traits>

#include "datasets/fail.h"

namespace diffq {
namespace {

// Deflate codes at best 258 bytes in 2 bits, which bounds what a compressed file can hold (and what a lying
// header can make us allocate).
constexpr uint64_t kMaxDeflateRatio = 1032;

std::string hex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    if (!text.empty()) text += ' ';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// A file of bytes, decompressed on the way where it is gzip.
class ByteReader {
 public:
  explicit ByteReader(const std::string& path) : path_(path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) fail(path, "there is no such file");
    if (!std::filesystem::is_regular_file(path, error)) fail(path, "is not a file");
    size_ = std::filesystem::file_size(path, error);
    if (!error) file_.reset(gzopen(path.c_str(), "rb"));
    if (!file_) fail(path, std::string("can't be opened: ") + std::strerror(errno));
    gzbuffer(file_.get(), 1 << 17);
  }

  /// Reads until `into` is full or the data ends; returns how much there was.
  size_t read(std::span<uint8_t> into) {
    constexpr size_t kMaxRead = size_t{1} << 30;  // zlib counts in int
    size_t done = 0;
    while (done < into.size()) {
      const size_t wanted = std::min(into.size() - done, kMaxRead);
      const int got = gzread(file_.get(), into.data() + done, static_cast<unsigned>(wanted));
      int code = Z_OK;
      gzerror(file_.get(), &code);
      if (got < 0 || code == Z_BUF_ERROR) {
        const std::string why = code == Z_ERRNO ? std::string(" (") + std::strerror(errno) + ")" : "";
        fail(path_, "is damaged or cut short" + why + "; fetch or copy it again");
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  bool compressed() const { return gzdirect(file_.get()) == 0; }
  uint64_t file_size() const { return size_; }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose_r(file); }
  };
  std::string path_;
  std::unique_ptr<std::remove_pointer_t<gzFile>, Close> file_;
  uint64_t size_ = 0;
};

std::vector<int64_t> read_header(ByteReader& reader, const std::string& path,
                                 std::span<const int> dimensions) {
  std::array<uint8_t, 4> magic{};
  const size_t got = reader.read(magic);
  const bool known = got == magic.size() && magic[0] == 0 && magic[1] == 0 && magic[2] == 8 &&
                     std::ranges::find(dimensions, int{magic[3]}) != dimensions.end();
  if (!known) {
    std::string right;
    for (const int count : dimensions)
      right += (right.empty() ? "00 00 08 0" : " or 00 00 08 0") + std::to_string(count);
    fail(path, "begins with '" + hex(std::span(magic).first(got)) +
                   "'; an IDX file of unsigned bytes for this purpose begins with " + right);
  }
  std::vector<int64_t> dims(magic[3]);
  for (int64_t& dim : dims) {
    std::array<uint8_t, 4> b{};
    if (reader.read(b) != b.size()) fail(path, "ends within its header; fetch or copy it again");
    dim = int64_t{b[0]} << 24 | int64_t{b[1]} << 16 | int64_t{b[2]} << 8 | int64_t{b[3]};
    if (dim == 0)
      fail(path,
           "its header gives a dimension of 0; it should hold at least one sample of at least one pixel");
  }
  return dims;
}

// The number of bytes that the header promises, once it is sure that the file can hold them.
uint64_t promised_bytes(const ByteReader& reader, const std::string& path, const std::vector<int64_t>& dims) {
  uint64_t bytes = 1;
  bool overflow = false;
  std::string shape;
  for (const int64_t dim : dims) {
    overflow |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes);
    shape += (shape.empty() ? "" : " x ") + std::to_string(dim);
  }
  const uint64_t header = 4 + 4 * dims.size();
  const uint64_t room =
      reader.compressed() ? reader.file_size() * kMaxDeflateRatio : reader.file_size() - header;
  const bool fits = !overflow && (reader.compressed() ? bytes <= room : bytes == room);
  if (!fits) {
    fail(path,
         "its header says " + shape + " bytes, but the file has " + std::to_string(reader.file_size()) +
             (reader.compressed() ? ", compressed" : ", " + std::to_string(header) + " of them the header") +
             "; it is cut short or not an IDX file");
  }
  return bytes;
}

IdxFile open_idx(const std::string& path, std::span<const int> dimensions, bool keep) {
  ByteReader reader(path);
  IdxFile file{path, read_header(reader, path, dimensions), {}};
  const uint64_t bytes = promised_bytes(reader, path, file.dims);
  if (!keep && !reader.compressed()) return file;

  uint64_t got = 0;
  if (keep) {
    file.bytes.resize(bytes);
    got = reader.read(file.bytes);
  } else {
    std::vector<uint8_t> block(1 << 18);
    while (got < bytes) {
      const size_t more = reader.read(std::span(block).first(std::min<uint64_t>(block.size(), bytes - got)));
      if (more == 0) break;
      got += more;
    }
  }
  // Reading beyond the last byte makes zlib compare its check sum, too.
  std::array<uint8_t, 1> beyond{};
  const bool longer = got == bytes && reader.read(beyond) != 0;
  if (got != bytes || longer) {
    fail(path, "its header promises " + std::to_string(bytes) + " bytes, but there are " +
                   (longer ? "more" : std::to_string(got)) + "; fetch or copy it again");
  }
  return file;
}

}  // namespace

IdxFile check_idx(const std::string& path, std::span<const int> dimensions) {
  return open_idx(path, dimensions, false);
}
IdxFile read_idx(const std::string& path, std::span<const int> dimensions) {
  return open_idx(path, dimensions, true);
}

}  // namespace diffq
