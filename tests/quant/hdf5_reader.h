#pragma once
// Reads the few shapes of HDF5 that reference vectors have. Numbers of any kind are converted to the one
// asked for.

#include <hdf5.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace diffq {

class Hdf5File {
 public:
  explicit Hdf5File(const std::string& path) : id_(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT)) {
    if (id_ < 0) throw std::runtime_error(path + ": not an HDF5 file");
  }
  ~Hdf5File() { H5Fclose(id_); }
  Hdf5File(const Hdf5File&) = delete;
  Hdf5File& operator=(const Hdf5File&) = delete;

  /// Names of what a group holds, in alphabetical order.
  std::vector<std::string> names(const std::string& group) const {
    std::vector<std::string> found;
    const auto add = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
      static_cast<std::vector<std::string>*>(list)->push_back(name);
      return 0;
    };
    hsize_t index = 0;
    check(
        H5Literate_by_name(id_, group.c_str(), H5_INDEX_NAME, H5_ITER_INC, &index, add, &found, H5P_DEFAULT),
        group);
    return found;
  }

  bool has(const std::string& path) const {
    for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
      if (H5Lexists(id_, path.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
      if (slash == std::string::npos) return true;
    }
  }

  bool is_group(const std::string& path) const {
    const hid_t object = check(H5Oopen(id_, path.c_str(), H5P_DEFAULT), path);
    const bool group = H5Iget_type(object) == H5I_GROUP;
    H5Oclose(object);
    return group;
  }

  std::vector<int64_t> shape(const std::string& dataset) const {
    const hid_t set = check(H5Dopen2(id_, dataset.c_str(), H5P_DEFAULT), dataset);
    const hid_t space = H5Dget_space(set);
    std::vector<hsize_t> sizes(static_cast<size_t>(H5Sget_simple_extent_ndims(space)));
    H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
    H5Sclose(space);
    H5Dclose(set);
    return {sizes.begin(), sizes.end()};
  }

  std::vector<float> floats(const std::string& dataset) const {
    return read<float>(dataset, H5T_NATIVE_FLOAT);
  }
  std::vector<double> doubles(const std::string& dataset) const {
    return read<double>(dataset, H5T_NATIVE_DOUBLE);
  }
  std::vector<int> ints(const std::string& dataset) const { return read<int>(dataset, H5T_NATIVE_INT); }

  bool has_attribute(const std::string& object, const char* attribute) const {
    return H5Aexists_by_name(id_, object.c_str(), attribute, H5P_DEFAULT) > 0;
  }

  double number(const std::string& object, const char* attribute) const {
    const hid_t id = open_attribute(object, attribute);
    double value = 0;
    // Truth values are stored as an enumeration over small integers, which only converts to integers.
    const hid_t type = H5Aget_type(id);
    if (H5Tget_class(type) == H5T_ENUM) {
      int whole = 0;
      check(H5Aread(id, H5T_NATIVE_INT, &whole), attribute);
      value = whole;
    } else {
      check(H5Aread(id, H5T_NATIVE_DOUBLE, &value), attribute);
    }
    H5Tclose(type);
    H5Aclose(id);
    return value;
  }

  std::string text(const std::string& object, const char* attribute) const {
    const hid_t id = open_attribute(object, attribute);
    const hid_t type = H5Aget_type(id);
    std::string value;
    if (H5Tis_variable_str(type) > 0) {
      char* held = nullptr;
      check(H5Aread(id, type, &held), attribute);
      value = held;
      H5free_memory(held);
    } else {
      value.resize(H5Tget_size(type));
      check(H5Aread(id, type, value.data()), attribute);
      value.resize(value.find('\0') == std::string::npos ? value.size() : value.find('\0'));
    }
    H5Tclose(type);
    H5Aclose(id);
    return value;
  }

 private:
  template <class Status>
  static Status check(Status status, const std::string& what) {
    if (status < 0) throw std::runtime_error("HDF5: cannot read " + what);
    return status;
  }

  hid_t open_attribute(const std::string& object, const char* attribute) const {
    return check(H5Aopen_by_name(id_, object.c_str(), attribute, H5P_DEFAULT, H5P_DEFAULT),
                 object + ":" + attribute);
  }

  template <class T>
  std::vector<T> read(const std::string& dataset, hid_t type) const {
    int64_t count = 1;
    for (const int64_t size : shape(dataset)) count *= size;
    std::vector<T> values(static_cast<size_t>(count));
    const hid_t set = check(H5Dopen2(id_, dataset.c_str(), H5P_DEFAULT), dataset);
    check(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), dataset);
    H5Dclose(set);
    return values;
  }

  hid_t id_;
};

}  // namespace diffq
