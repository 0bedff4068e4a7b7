#include "quant/packed_tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>

#include "quant/bit_packing.h"
#include "quant/grid.h"
#include "quant/level_coding.h"

namespace diffq {
namespace {

constexpr int64_t kChunk =
    4096;  // numbers a thread works on at a time: a multiple of 8, its scratch in the nearest cache
constexpr int kWidths = kMostPackedBits + 1;

using BitsTable = std::span<const uint8_t>;

/// The groups sorted by width, in the order of the tensor within each: where every level is in the file.
class Sections {
 public:
  Sections(const TensorLayout& layout, BitsTable bits) : layout_(layout) {
    std::array<int64_t, kWidths> groups{};
    for (const uint8_t width : bits) ++groups[width];
    for (int width = 1; width < kWidths; ++width) {
      first_[width] = groups_before_;
      groups_before_ += groups[width];
      entries_[width] = groups[width] * layout.group_size;
      if (groups[width] == layout.groups()) only_ = width;
    }
    if (!bits.empty()) entries_[bits.back()] -= layout.groups() * layout.group_size - layout.numel;
    if (only_ != 0) return;
    order_.resize(bits.size());
    std::array<int64_t, kWidths> next = first_;
    for (size_t k = 0; k < bits.size(); ++k)
      order_[static_cast<size_t>(next[bits[k]]++)] = static_cast<uint32_t>(k);
  }

  int64_t entries(int width) const { return entries_[width]; }

  /// Calls move(begin in the tensor, number, offset in the chunk) for the runs that make up entries [first,
  /// first + count) of a width.
  template <class Move>
  void for_runs(int width, int64_t first, int64_t count, const Move& move) const {
    if (only_ != 0) {
      move(first, count, int64_t{0});
      return;
    }
    const int64_t size = layout_.group_size;
    int64_t group = first_[width] + first / size, inside = first % size;
    for (int64_t done = 0; done < count;) {
      const int64_t run = std::min(size - inside, count - done);
      move(int64_t{order_[static_cast<size_t>(group)]} * size + inside, run, done);
      done += run;
      ++group;
      inside = 0;
    }
  }

 private:
  TensorLayout layout_;
  std::array<int64_t, kWidths> first_{}, entries_{};
  int64_t groups_before_ = 0;
  int only_ = 0;  ///< the width of all groups, if they have one
  std::vector<uint32_t> order_;
};

/// Calls work(first, count) for chunks of [0, entries), on all threads.
template <class Work>
void for_chunks(int64_t entries, const Work& work) {
  const int64_t chunks = (entries + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static) if (chunks > 4)
  for (int64_t c = 0; c < chunks; ++c) work(c * kChunk, std::min(kChunk, entries - c * kChunk));
}

/// Levels of one width: the number stored, and back to the weight as Grid and Lsq have it.
struct Levels {
  LevelGrid grid;
  Grid range;
  float scale, lowest, highest;

  Levels(LevelGrid kind, int width, float low, float high)
      : grid(kind),
        range{low, high, Grid::top_of(width)},
        scale(low),
        lowest(-static_cast<float>(1 << (width - 1))),
        highest(static_cast<float>((1 << (width - 1)) - 1)) {}

  void of(const float* weights, int64_t count, uint16_t* levels) const {
    if (grid == LevelGrid::scale) {
      for (int64_t i = 0; i < count; ++i) {
        const float u = weights[i] / scale, above = u < lowest ? lowest : u;
        levels[i] = stored(round_half_even(above > highest ? highest : above) - lowest);
      }
    } else if (range.is_point()) {
      std::fill(levels, levels + count, uint16_t{0});
    } else {
      for (int64_t i = 0; i < count; ++i) levels[i] = stored(range.level(weights[i]));
    }
  }

  void restore(const uint16_t* levels, int64_t count, float* weights) const {
    const auto level = [&](int64_t i) { return static_cast<float>(static_cast<int32_t>(levels[i])); };
    if (grid == LevelGrid::scale) {
      for (int64_t i = 0; i < count; ++i) weights[i] = (level(i) + lowest) * scale;
    } else if (range.is_point()) {
      std::fill(weights, weights + count, range.low);
    } else {
      for (int64_t i = 0; i < count; ++i) weights[i] = range.restore(level(i));
    }
  }

  static uint16_t stored(float level) { return static_cast<uint16_t>(whole_level(level)); }
};

void append_float(float value, std::vector<uint8_t>& out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

/// Everything before the levels.
struct Head {
  float low = 0, high = 0;
  std::vector<uint8_t> bits;  ///< [groups]
};

void append_head(const TensorLayout& layout, float low, float high, BitsTable bits, Coding coding,
                 std::vector<uint8_t>& out) {
  append_float(low, out);
  if (layout.grid == LevelGrid::range) append_float(high, out);
  const auto [least, most] = std::ranges::minmax_element(bits);
  const uint8_t fewest = bits.empty() ? 1 : *least;
  int table_bits = 0;
  while (!bits.empty() && *most - *least >= 1 << table_bits) ++table_bits;
  out.push_back(fewest);
  out.push_back(static_cast<uint8_t>(table_bits));
  if (table_bits == 0) return;
  std::vector<uint16_t> table(bits.size());
  std::ranges::transform(bits, table.begin(), [&](uint8_t b) { return static_cast<uint16_t>(b - fewest); });
  append_numbers(coding, table_bits, table, out);
}

/// Takes the head off the front of `bytes`.
Head take_head(const TensorLayout& layout, Coding coding, std::span<const uint8_t>& bytes) {
  const size_t floats = layout.grid == LevelGrid::range ? 2 : 1;
  if (bytes.size() < 4 * floats + 2) throw DamagedFile("is too short for its range and widths");
  check_size(layout, coding, bytes.size());
  Head head;
  std::memcpy(&head.low, bytes.data(), 4);
  if (floats == 2) std::memcpy(&head.high, bytes.data() + 4, 4);
  const int least = bytes[4 * floats], table_bits = bytes[4 * floats + 1];
  bytes = bytes.subspan(4 * floats + 2);
  if (least < 1 || least > kMostPackedBits || table_bits > 4)
    throw DamagedFile("has groups of " + std::to_string(least) + " bits and a table of " +
                      std::to_string(table_bits) + "; both are out of range");
  const int64_t groups = layout.groups();
  head.bits.assign(static_cast<size_t>(groups), static_cast<uint8_t>(least));
  if (table_bits == 0) return head;
  const NumberList table(coding, table_bits, groups, bytes);
  std::array<uint16_t, kChunk> part;
  for (int64_t first = 0; first < groups; first += kChunk) {
    const int64_t count = std::min(kChunk, groups - first);
    table.read(first, count, part.data());
    for (int64_t k = 0; k < count; ++k) {
      const int width = least + part[static_cast<size_t>(k)];
      if (width > kMostPackedBits)
        throw DamagedFile("has a group of " + std::to_string(width) + " bits; there are at most " +
                          std::to_string(kMostPackedBits));
      head.bits[static_cast<size_t>(first + k)] = static_cast<uint8_t>(width);
    }
  }
  return head;
}

/// The bytes that the levels of `width` begin at are appended; work(first, count, levels) gives the levels.
template <class Work>
void append_section(Coding coding, int width, int64_t entries, const Work& work, std::vector<uint8_t>& out) {
  if (coding == Coding::bits) {
    const size_t before = out.size();
    out.resize(before + static_cast<size_t>(packed_bytes(entries, width)));
    for_chunks(entries, [&](int64_t first, int64_t count) {
      uint16_t levels[kChunk];
      work(first, count, levels);
      pack_bits(width, levels, count, out.data() + before + first / 8 * width);
    });
    return;
  }
  std::vector<uint16_t> levels(static_cast<size_t>(entries));
  for_chunks(entries, [&](int64_t first, int64_t count) { work(first, count, levels.data() + first); });
  append_numbers(coding, width, levels, out);
}

/// Calls work(head, sections, width, numbers) for every width that a packed tensor has.
template <class Work>
void for_sections(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes,
                  const Work& work) {
  const Head head = take_head(layout, coding, bytes);
  const Sections sections(layout, head.bits);
  for (int width = 1; width < kWidths; ++width) {
    if (sections.entries(width) == 0) continue;
    const NumberList list(coding, width, sections.entries(width), bytes);
    work(head, sections, width, list);
  }
  if (!bytes.empty())
    throw DamagedFile("has " + std::to_string(bytes.size()) + " bytes more than its levels need");
}

}  // namespace

void check_size(const TensorLayout& layout, Coding coding, size_t bytes) {
  const auto there = static_cast<int64_t>(bytes);
  // A byte holds eight numbers at most; in zstd's frames a symbol does, and each width has a frame.
  const int64_t symbols = layout.numel / 8;
  const int64_t least =
      coding == Coding::bits ? symbols : kMostPackedBits * least_bytes(symbols / kMostPackedBits);
  if (there < least) throw DamagedFile("is too short for " + std::to_string(layout.numel) + " weights");
  if (layout.groups() >= int64_t{UINT32_MAX}) throw DamagedFile("has too many groups");
}

std::vector<uint8_t> pack_tensor(const TensorToPack& tensor, Coding coding) {
  std::vector<uint8_t> out;
  append_head(tensor.layout, tensor.low, tensor.high, tensor.bits, coding, out);
  const Sections sections(tensor.layout, tensor.bits);
  for (int width = 1; width < kWidths; ++width) {
    if (sections.entries(width) == 0) continue;
    const Levels levels(tensor.layout.grid, width, tensor.low, tensor.high);
    const auto find_levels = [&](int64_t first, int64_t count, uint16_t* found) {
      float weights[kChunk];
      sections.for_runs(width, first, count, [&](int64_t begin, int64_t run, int64_t offset) {
        std::copy_n(tensor.weights + begin, run, weights + offset);
      });
      levels.of(weights, count, found);
    };
    append_section(coding, width, sections.entries(width), find_levels, out);
  }
  return out;
}

void unpack_tensor(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes,
                   float* weights) {
  for_sections(layout, coding, bytes,
               [&](const Head& head, const Sections& sections, int width, const NumberList& list) {
                 const Levels levels(layout.grid, width, head.low, head.high);
                 for_chunks(sections.entries(width), [&](int64_t first, int64_t count) {
                   uint16_t numbers[kChunk];
                   float restored[kChunk];
                   list.read(first, count, numbers);
                   levels.restore(numbers, count, restored);
                   sections.for_runs(width, first, count, [&](int64_t begin, int64_t run, int64_t offset) {
                     std::copy_n(restored + offset, run, weights + begin);
                   });
                 });
               });
}

void unpack_levels(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes,
                   uint16_t* levels) {
  for_sections(layout, coding, bytes,
               [&](const Head&, const Sections& sections, int width, const NumberList& list) {
                 for_chunks(sections.entries(width), [&](int64_t first, int64_t count) {
                   uint16_t numbers[kChunk];
                   list.read(first, count, numbers);
                   sections.for_runs(width, first, count, [&](int64_t begin, int64_t run, int64_t offset) {
                     std::copy_n(numbers + offset, run, levels + begin);
                   });
                 });
               });
}

std::vector<uint8_t> unpack_bits_table(const TensorLayout& layout, Coding coding,
                                       std::span<const uint8_t> bytes) {
  return take_head(layout, coding, bytes).bits;
}

std::vector<uint8_t> recode_tensor(const TensorLayout& layout, Coding from, std::span<const uint8_t> bytes,
                                   Coding to) {
  std::vector<uint8_t> out;
  for_sections(layout, from, bytes,
               [&](const Head& head, const Sections& sections, int width, const NumberList& list) {
                 if (out.empty()) append_head(layout, head.low, head.high, head.bits, to, out);
                 append_section(
                     to, width, sections.entries(width),
                     [&](int64_t first, int64_t count, uint16_t* levels) { list.read(first, count, levels); },
                     out);
               });
  return out;
}

}  // namespace diffq
