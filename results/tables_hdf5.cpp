#include "results/tables_hdf5.h"

#include <algorithm>
#include <vector>

#include "results/utf8.h"

namespace diffq::hdf5 {
namespace {

std::mutex& library_mutex() {
  static std::mutex instance;
  return instance;
}

void write_attribute(hid_t object, const std::string& name, const Id& type, const void* value) {
  const Id space(H5Screate(H5S_SCALAR), name);
  const Id attribute(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), name);
  check(H5Awrite(attribute, type, value), name);
}

Id open_attribute(hid_t object, const std::string& name) {
  const std::string what = "attribute '" + name + "'";
  if (check(H5Aexists(object, name.c_str()), what) == 0) throw std::runtime_error(what + " is missing");
  Id attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), what);
  const Id space(H5Aget_space(attribute), what);
  if (H5Sget_simple_extent_npoints(space) != 1) throw std::runtime_error(what + " is not a single value");
  return attribute;
}

}  // namespace

/// The library's own account of its last failure: the outermost and the innermost entry of its error stack.
std::string last_error() {
  std::vector<std::string> entries;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_DOWNWARD,
      [](unsigned, const H5E_error2_t* entry, void* list) -> herr_t {
        static_cast<std::vector<std::string>*>(list)->push_back(entry->desc ? entry->desc : "");
        return 0;
      },
      &entries);
  if (entries.empty()) return "unknown HDF5 error";
  return entries.size() == 1 ? entries.front() : entries.front() + " (" + entries.back() + ")";
}

Library::Library() : lock_(library_mutex()) {
  H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}
Library::~Library() { H5Eset_auto2(H5E_DEFAULT, print_, print_data_); }

Id string_type(size_t width) {
  Id type(H5Tcopy(H5T_C_S1), "string type");
  check(H5Tset_size(type, width), "string type");
  check(H5Tset_strpad(type, H5T_STR_NULLPAD), "string type");  // the longest value needs no terminating zero
  check(H5Tset_cset(type, H5T_CSET_UTF8), "string type");
  return type;
}

bool is_fixed_string(hid_t type) { return H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0; }

std::string unpadded(const char* from, size_t width) {
  std::string value(from, width);
  value.erase(value.find_last_not_of('\0') + 1);
  return value;
}

Id memory_access() {
  Id access(H5Pcreate(H5P_FILE_ACCESS), "memory file");
  check(H5Pset_fapl_core(access, size_t{1} << 20, false), "memory file");
  check(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "memory file");
  return access;
}

std::string image_of(hid_t file) {
  check(H5Fflush(file, H5F_SCOPE_GLOBAL), "new file");
  std::string image(check(H5Fget_file_image(file, nullptr, 0), "new file"), '\0');
  check(H5Fget_file_image(file, image.data(), image.size()), "new file");
  return image;
}

void write_attribute(hid_t object, const std::string& name, const std::string& value) {
  const std::string text = valid_utf8(value);
  const Id type = string_type(std::max<size_t>(text.size(), 1));
  write_attribute(object, name, type, text.c_str());
}

void write_attribute(hid_t object, const std::string& name, int64_t value) {
  const Id type(H5Tcopy(H5T_STD_I64LE), name);
  write_attribute(object, name, type, &value);
}

std::string read_string_attribute(hid_t object, const std::string& name) {
  const Id attribute = open_attribute(object, name);
  const Id stored(H5Aget_type(attribute), name);
  if (!is_fixed_string(stored))
    throw std::runtime_error("attribute '" + name + "' is not a fixed-length string");
  std::string bytes(H5Tget_size(stored), '\0');
  const Id type = string_type(bytes.size());
  check(H5Aread(attribute, type, bytes.data()), "attribute '" + name + "'");
  return unpadded(bytes.data(), bytes.size());
}

int64_t read_integer_attribute(hid_t object, const std::string& name) {
  const Id attribute = open_attribute(object, name);
  const Id stored(H5Aget_type(attribute), name);
  if (H5Tget_class(stored) != H5T_INTEGER)
    throw std::runtime_error("attribute '" + name + "' is not a whole number");
  int64_t value = 0;
  check(H5Aread(attribute, H5T_NATIVE_INT64, &value), "attribute '" + name + "'");
  return value;
}

}  // namespace diffq::hdf5
