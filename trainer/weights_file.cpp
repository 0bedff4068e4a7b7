#include "trainer/weights_file.h"

#include <torch/torch.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "results/durable_file.h"

namespace diffq {
namespace {

struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  at::Tensor data;  // float32, contiguous
};

std::vector<NamedTensor> named_tensors(const ParameterStore& store) {
  std::vector<NamedTensor> tensors;
  for (const auto& entry : store.entries()) {
    tensors.push_back({entry.name, entry.parameter.sizes().vec(), store.master_of(entry)});
  }
  for (const auto& buffer : store.buffers())
    tensors.push_back({buffer.name, buffer.tensor.sizes().vec(), buffer.tensor});
  return tensors;
}

// Format: https://github.com/huggingface/safetensors#format — u64 header length, JSON header, tensor bytes.
nlohmann::json header_of(const std::vector<NamedTensor>& tensors) {
  nlohmann::json header;
  int64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    const int64_t end = offset + tensor.data.numel() * 4;
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

nlohmann::json read_header(std::ifstream& file, const std::string& path, uint64_t file_size) {
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), 8);
  if (!file || length > file_size - 8) throw std::runtime_error(path + ": not a safetensors file");
  std::string text(length, '\0');
  file.read(text.data(), static_cast<std::streamsize>(length));
  auto header = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file || !header.is_object()) throw std::runtime_error(path + ": damaged safetensors header");
  return header;
}

struct Range {
  uint64_t begin = 0, end = 0;
};

// Where the header says that the tensor's bytes are; a message that begins with `where` if it is not the one
// that we want.
Range find_bytes(const nlohmann::json& header, const NamedTensor& tensor, const std::string& where) {
  const auto found = header.find(tensor.name);
  if (found == header.end()) throw std::runtime_error(where + ": missing; this file is of another model");
  Range range;
  std::string type;
  std::vector<int64_t> shape;
  try {
    found->at("dtype").get_to(type);
    found->at("shape").get_to(shape);
    found->at("data_offsets").at(0).get_to(range.begin);
    found->at("data_offsets").at(1).get_to(range.end);
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(where + ": damaged safetensors header: " + error.what());
  }
  if (type != "F32" || shape != tensor.shape) {
    throw std::runtime_error(where + ": is " + type + " " + nlohmann::json(shape).dump() +
                             "; this model has F32 " + nlohmann::json(tensor.shape).dump());
  }
  if (range.end < range.begin || range.end - range.begin != static_cast<uint64_t>(tensor.data.numel()) * 4) {
    throw std::runtime_error(where + ": damaged safetensors header: offsets do not fit the shape");
  }
  return range;
}

}  // namespace

void save_weights(const std::filesystem::path& path, const ParameterStore& store) {
  const auto tensors = named_tensors(store);
  std::string header = header_of(tensors).dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');  // tensor bytes start aligned
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream file(temporary, std::ios::binary);
    const uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), 8);
    file << header;
    for (const NamedTensor& tensor : tensors) {
      const at::Tensor bytes = tensor.data.cpu().contiguous();
      file.write(static_cast<const char*>(bytes.const_data_ptr()), bytes.numel() * 4);
    }
    file.close();
    if (!file) throw std::runtime_error(path.string() + ": can't be written: " + std::strerror(errno));
  });
}

void load_weights(const std::filesystem::path& path, ParameterStore& store) {
  torch::NoGradGuard no_grad;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + ": can't be opened: " + std::strerror(errno));
  const uint64_t file_size = std::filesystem::file_size(path);
  const nlohmann::json header = read_header(file, path.string(), file_size);
  const uint64_t start = static_cast<uint64_t>(file.tellg());
  for (NamedTensor& tensor : named_tensors(store)) {
    const std::string where = path.string() + ": " + tensor.name;
    const Range range = find_bytes(header, tensor, where);
    if (range.end > file_size - start) {
      throw std::runtime_error(where + ": lies outside the file, which is truncated or damaged");
    }
    at::Tensor values = at::empty({tensor.data.numel()}, at::kFloat);
    file.seekg(static_cast<std::streamoff>(start + range.begin));
    file.read(static_cast<char*>(values.mutable_data_ptr()),
              static_cast<std::streamsize>(range.end - range.begin));
    if (!file) throw std::runtime_error(where + ": can't be read");
    tensor.data.copy_(values.view_as(tensor.data));
  }
}

}  // namespace diffq
