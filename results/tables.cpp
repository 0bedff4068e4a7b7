#include "results/tables.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "results/columns.h"
#include "results/durable_file.h"
#include "results/tables_hdf5.h"
#include "results/utf8.h"

namespace diffq {
namespace {

using namespace hdf5;

// Rows are packed by hand, as they lie in the file.
static_assert(std::endian::native == std::endian::little, "the files hold little-endian numbers");

hid_t number_type(double) { return H5T_IEEE_F64LE; }
hid_t number_type(int64_t) { return H5T_STD_I64LE; }
hid_t number_type(bool) { return H5T_STD_I8LE; }

// --- Rows as bytes -----------------------------------------------------------------------------

template <class Row>
struct Layout {
  std::vector<size_t> widths, offsets;  ///< bytes, a column each
  size_t row_size = 0;

  void add(size_t width) {
    offsets.push_back(row_size);
    widths.push_back(width);
    row_size += width;
  }
  Id type(const std::string& what) const {
    Id result(H5Tcreate(H5T_COMPOUND, row_size), what);
    for (size_t i = 0; i < widths.size(); ++i) {
      const Column<Row>& column = columns<Row>()[i];
      const Row prototype;
      if (widths[i] == 0) continue;  // not in the file
      visit_field(prototype, column, [&](const auto& value) {
        if constexpr (std::is_same_v<decltype(value), const std::string&>) {
          check(H5Tinsert(result, column.name.c_str(), offsets[i], string_type(widths[i])), what);
        } else {
          check(H5Tinsert(result, column.name.c_str(), offsets[i], number_type(value)), what);
        }
      });
    }
    return result;
  }
};

size_t stored_width(const std::string& value) { return std::max<size_t>(value.size(), 1); }
size_t stored_width(bool) { return 1; }
template <class Number>
size_t stored_width(Number) {
  return sizeof(Number);
}

void store(const std::string& value, char* to, size_t) { std::memcpy(to, value.data(), value.size()); }
void store(bool value, char* to, size_t) { *to = value ? 1 : 0; }
template <class Number>
void store(Number value, char* to, size_t width) {
  std::memcpy(to, &value, width);
}

void load(std::string& value, const char* from, size_t width) { value = unpadded(from, width); }
void load(bool& value, const char* from, size_t) { value = *from != 0; }
template <class Number>
void load(Number& value, const char* from, size_t width) {
  std::memcpy(&value, from, width);
}

/// As the rows are written: a string column is as wide as its longest value.
template <class Row>
Layout<Row> layout_of(const std::vector<Row>& rows) {
  Layout<Row> layout;
  for (const Column<Row>& column : columns<Row>()) {
    const bool is_string = std::holds_alternative<std::string Row::*>(column.member);
    const auto width = [&](const Row& row) {
      return visit_field(row, column, [](const auto& value) { return stored_width(value); });
    };
    size_t widest = is_string ? 1 : width(Row{});
    for (const Row& row : rows) widest = std::max(widest, width(row));
    layout.add(widest);
  }
  return layout;
}

/// The same rows with every string well-formed: the file says that it holds UTF-8.
template <class Row>
std::vector<Row> with_valid_strings(std::vector<Row> rows) {
  for (Row& row : rows) {
    for (const Column<Row>& column : columns<Row>()) {
      if (auto* member = std::get_if<std::string Row::*>(&column.member))
        row.*(*member) = valid_utf8(row.*(*member));
    }
  }
  return rows;
}

/// The last line of a file, after all that HDF5 reads: a sum over everything before. HDF5 sums little itself,
/// and on some damaged files it leaks or prints at exit, so it is never shown one.
std::string seal_of(std::string_view image) {
  const auto* bytes = reinterpret_cast<const Bytef*>(image.data());
  char text[32];
  std::snprintf(text, sizeof(text), "\ndiffq-crc32 %08lx\n",
                crc32_z(crc32_z(0, nullptr, 0), bytes, image.size()));
  return text;
}

void check_seal(std::string_view content) {
  const size_t length = seal_of("").size();
  if (content.size() < length) return;
  const std::string_view seal = content.substr(content.size() - length);
  // Without one: cut off, which HDF5 notices, or rewritten by another program, which is allowed.
  if (!seal.starts_with("\ndiffq-crc32 ")) return;
  if (seal != seal_of(content.substr(0, content.size() - length))) {
    throw std::runtime_error("is damaged: its content doesn't match its checksum");
  }
}

// --- Writing -----------------------------------------------------------------------------------

template <class Row>
void write_table(hid_t file, const std::string& name, const std::vector<Row>& any_rows) {
  const std::vector<Row> rows = with_valid_strings(any_rows);
  const Layout<Row> layout = layout_of(rows);
  std::string bytes(rows.size() * layout.row_size, '\0');
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < layout.widths.size(); ++i) {
      char* to = bytes.data() + r * layout.row_size + layout.offsets[i];
      visit_field(rows[r], columns<Row>()[i], [&](const auto& value) { store(value, to, layout.widths[i]); });
    }
  }
  const hsize_t count = rows.size();
  const Id type = layout.type(name);
  const Id space(H5Screate_simple(1, &count, nullptr), name);
  const Id dataset(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), name);
  check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), name);
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string file_image(const ResultFile& content) {
  const Id access = memory_access();
  const Id file(H5Fcreate(kMemoryFile, H5F_ACC_TRUNC, H5P_DEFAULT, access), "new file");
  write_attribute(file, "schema_version", int64_t{kSchemaVersion});
  write_attribute(file, "sweep", content.sweep);
  write_attribute(file, "size_unit", "MB = 2^20 bytes");
  write_attribute(file, "created_utc", now_utc());
  write_attribute(file, "program_version", content.program_version);
  write_attribute(file, "git_commit", content.git_commit);
  write_table(file, "runs", content.runs);
  write_table(file, "epochs", content.epochs);
  write_table(file, "layers", content.layers);
  write_table(file, "tracks", content.tracks);
  write_table(file, "environment", content.environment);
  write_table(file, "sweeps", content.sweeps);
  return image_of(file);
}

// --- Reading -----------------------------------------------------------------------------------

std::string read_whole_file(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw std::runtime_error("no such file");
  if (!std::filesystem::is_regular_file(path)) throw std::runtime_error("not a file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("can't be read");
  std::string bytes(static_cast<size_t>(file.tellg()), '\0');
  file.seekg(0);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error("can't be read");
  return bytes;
}

/// The widths of our columns as stored; other columns are ignored, HDF5 picks members by name.
template <class Row>
Layout<Row> stored_layout(hid_t stored) {
  if (H5Tget_class(stored) != H5T_COMPOUND) throw std::runtime_error("is not a table");
  Layout<Row> layout;
  const Row prototype;
  for (const Column<Row>& column : columns<Row>()) {
    const int index = H5Tget_member_index(stored, column.name.c_str());
    if (index < 0 && !column.later) throw std::runtime_error("has no column '" + column.name + "'");
    if (index < 0) {
      layout.add(0);
      continue;
    }
    const Id member(H5Tget_member_type(stored, static_cast<unsigned>(index)), column.name);
    visit_field(prototype, column, [&](const auto& value) {
      if constexpr (std::is_same_v<decltype(value), const std::string&>) {
        if (!is_fixed_string(member))
          throw std::runtime_error("column '" + column.name + "' is not of fixed-length strings");
      } else {
        if (H5Tequal(member, number_type(value)) <= 0) {
          throw std::runtime_error("column '" + column.name + "' has another type of numbers");
        }
      }
    });
    layout.add(H5Tget_size(member));
  }
  return layout;
}

template <class Row>
std::vector<Row> read_table(hid_t file, const std::string& name) try {
  if (check(H5Lexists(file, name.c_str(), H5P_DEFAULT), "looking for it") == 0)
    throw std::runtime_error("is missing");
  const Id dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), "opening");
  const Id space(H5Dget_space(dataset), "shape");
  if (H5Sget_simple_extent_ndims(space) != 1) throw std::runtime_error("has not one dimension");
  const Id stored(H5Dget_type(dataset), "type");
  const Layout<Row> layout = stored_layout<Row>(stored);
  const Id type = layout.type("type");
  std::vector<Row> rows(check(H5Sget_simple_extent_npoints(space), "shape"));
  std::string bytes(rows.size() * layout.row_size, '\0');
  check(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "reading");
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < layout.widths.size(); ++i) {
      if (layout.widths[i] == 0) continue;
      const char* from = bytes.data() + r * layout.row_size + layout.offsets[i];
      visit_field(rows[r], columns<Row>()[i], [&](auto& value) { load(value, from, layout.widths[i]); });
    }
  }
  return rows;
} catch (const std::exception& error) {
  throw std::runtime_error("/" + name + ": " + error.what());
}

ResultFile parse_image(std::string& image) {
  const Library library;
  const Id access = memory_access();
  check(H5Pset_file_image(access, image.data(), image.size()), "memory file");
  const Id file(H5Fopen(kMemoryFile, H5F_ACC_RDONLY, access), "not a whole HDF5 file");
  const int64_t version = read_integer_attribute(file, "schema_version");
  if (version < kOldestSchemaVersion || version > kSchemaVersion) {
    throw std::runtime_error("schema_version is " + std::to_string(version) + "; this program reads " +
                             std::to_string(kOldestSchemaVersion) + " to " + std::to_string(kSchemaVersion));
  }
  ResultFile content;
  content.sweep = read_string_attribute(file, "sweep");
  content.program_version = read_string_attribute(file, "program_version");
  content.git_commit = read_string_attribute(file, "git_commit");
  content.runs = read_table<RunRow>(file, "runs");
  content.epochs = read_table<EpochRow>(file, "epochs");
  content.layers = read_table<LayerRow>(file, "layers");
  if (check(H5Lexists(file, "tracks", H5P_DEFAULT), "tracks") > 0)
    content.tracks = read_table<TrackRow>(file, "tracks");
  content.environment = read_table<EnvironmentRow>(file, "environment");
  if (version >= 2) content.sweeps = read_table<SweepRow>(file, "sweeps");
  return content;
}

}  // namespace

void write_results(const std::filesystem::path& path, const ResultFile& content) try {
  const Library library;  // held to the end: the temporary name is the same for all threads
  const std::string image = file_image(content);
  replace_file(path, image + seal_of(image));
} catch (const std::exception& error) {
  throw std::runtime_error(path.string() + ": results can't be written: " + error.what());
}

ResultFile read_results(const std::filesystem::path& path) try {
  std::string image = read_whole_file(path);
  if (image.empty()) throw std::runtime_error("is empty");
  check_seal(image);
  return parse_image(image);
} catch (const std::exception& error) {
  throw std::runtime_error(path.string() + ": " + error.what());
}

}  // namespace diffq
