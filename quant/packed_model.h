#pragma once
// The file of a model that is really small: a safetensors file with bit-packed levels for what is quantised,
// all other tensors and the buffers as they are, and the specification of the run. docs/packed_format.md
// describes it for other readers. Plain safetensors files of weights read the same way. No ATen here: the
// reader is fuzzed by itself.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quant/safetensors.h"

namespace diffq {

/// The second is that of files with channels or groups without bits, which a reader of the first would take
/// for something else.
inline constexpr const char *kPackedFormat = "diffq-packed/1", *kPackedFormat2 = "diffq-packed/2";

/// One tensor of a model file.
struct ModelTensor {
  std::string name;
  std::vector<int64_t> shape;  ///< the model's, also when packed
  std::string dtype;           ///< of the bytes: "U8" when packed
  int64_t numel = 0;
  bool packed = false;
  TensorLayout layout;             ///< when packed
  std::span<const uint8_t> bytes;  ///< in the file
};

class PackedModel {
 public:
  /// Reads and checks everything but the levels themselves. `require_checksum` is for tests that damage files
  /// on purpose and want to get past the sum.
  explicit PackedModel(SafetensorsFile file, bool require_checksum = true);
  /// Throws std::invalid_argument naming the path when it can't be read, DamagedFile naming it when it is
  /// damaged.
  static PackedModel read(const std::filesystem::path& path);

  bool is_packed() const { return is_packed_; }  ///< false: another program's safetensors file
  LevelGrid grid() const { return grid_; }
  Coding coding() const { return coding_; }
  const std::vector<ModelTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& aliases() const {
    return aliases_;
  }  ///< further name -> tensor's name
  /// Specification of the run as JSON; empty in another program's file.
  const std::string& config() const { return config_; }
  int64_t header_bytes() const { return file_.header_bytes; }
  int64_t file_bytes() const { return static_cast<int64_t>(file_.content.size()); }

  /// The tensor of this name or alias, or nullptr.
  const ModelTensor* find(const std::string& name) const;
  /// Weights as float32, [numel]: of a packed tensor those that the model was evaluated with. Throws
  /// DamagedFile.
  void unpack(const ModelTensor& tensor, float* values) const;
  /// Bits of every group of a packed tensor. Throws DamagedFile.
  std::vector<uint8_t> bits(const ModelTensor& tensor) const;
  /// Whether unpack() can give float32: packed, or of a floating type that it knows.
  static bool has_values(const ModelTensor& tensor);

 private:
  void read_metadata();

  SafetensorsFile file_;
  bool is_packed_ = false;
  LevelGrid grid_ = LevelGrid::range;
  Coding coding_ = Coding::bits;
  std::vector<ModelTensor> tensors_;
  std::map<std::string, std::string> aliases_;
  std::string config_;
};

/// A model about to be written.
class PackedModelWriter {
 public:
  PackedModelWriter(LevelGrid grid, Coding coding, std::string config);

  /// The bytes are pack_tensor's, in the writer's grid and coding; group_size 0 is one group a tensor.
  void add_packed(const std::string& name, std::vector<int64_t> shape, int64_t group_size,
                  std::vector<uint8_t> bytes, int64_t channels = 1);
  /// `bytes` must live until the file is written, or belong to `owner`.
  void add_plain(const std::string& name, const std::string& dtype, std::vector<int64_t> shape,
                 std::span<const uint8_t> bytes, std::shared_ptr<const void> owner = nullptr);
  void add_alias(const std::string& alias, const std::string& name);

  /// Size of the whole file.
  int64_t file_bytes() const;
  /// Writes `path` itself. Throws std::runtime_error naming it.
  void write(const std::filesystem::path& path) const;

 private:
  struct Packed {
    std::string name;
    std::vector<int64_t> shape;
    int64_t group_size;
    std::vector<uint8_t> bytes;
    int64_t channels;
  };
  Metadata metadata() const;
  std::vector<TensorToWrite> tensors() const;

  LevelGrid grid_;
  Coding coding_;
  std::string config_;
  bool needs_format_2_ = false;
  std::vector<Packed> packed_;
  std::vector<StoredTensor> plain_;
  std::vector<std::shared_ptr<const void>> owners_;
  std::map<std::string, std::string> aliases_;
};

}  // namespace diffq
