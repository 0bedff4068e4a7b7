#include "quant/packed_tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>

#include "quant/bit_packing.h"
#include "quant/grid.h"
#include "quant/half.h"
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
    for (int width = 0; width < kWidths; ++width) {
      first_[width] = groups_before_;
      groups_before_ += groups[width];
      entries_[width] = groups[width] * layout.group_size;
      if (width > 0 && groups[width] == layout.groups()) only_ = width;
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

/// Calls work(channel, begin in the tensor, number, offset) for the parts of a run that are in one channel.
template <class Work>
void for_channels(const TensorLayout& layout, int64_t begin, int64_t count, int64_t offset,
                  const Work& work) {
  const int64_t length = layout.numel / layout.channels;
  for (const int64_t end = begin + count; begin < end;) {
    const int64_t channel = begin / length, part = std::min((channel + 1) * length, end) - begin;
    work(static_cast<size_t>(channel), begin, part, offset);
    begin += part;
    offset += part;
  }
}

/// Levels of one width: the number stored, and back to the weight as Grid and Lsq have it.
struct Levels {
  LevelGrid grid;
  Grid range;
  float scale, lowest, highest;

  Levels(LevelGrid kind, int width, Extremes ends)
      : grid(kind),
        range{ends.min, ends.max, Grid::top_of(width)},
        scale(ends.min),
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

template <class Number>
void append_number(Number value, std::vector<uint8_t>& out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

template <class Number>
Number take_number(std::span<const uint8_t>& bytes) {
  Number value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}

/// Everything before the levels.
struct Head {
  std::vector<Extremes> ends;  ///< [channels]
  std::vector<uint8_t> bits;   ///< [groups]
};

/// Bytes that the ends take.
size_t ends_bytes(const TensorLayout& layout) {
  if (layout.channels > 1) return 4 * static_cast<size_t>(layout.channels);
  return layout.grid == LevelGrid::range ? 8 : 4;
}

void append_ends(const TensorLayout& layout, std::span<const Extremes> ends, std::vector<uint8_t>& out) {
  for (const Extremes& channel : ends) {
    if (layout.channels > 1) {
      append_number(float_to_half(channel.min), out);
      append_number(float_to_half(channel.max), out);
    } else {
      append_number(channel.min, out);
      if (layout.grid == LevelGrid::range) append_number(channel.max, out);
    }
  }
}

void take_ends(const TensorLayout& layout, std::span<const uint8_t>& bytes, std::vector<Extremes>& ends) {
  ends.resize(static_cast<size_t>(layout.channels));
  for (Extremes& channel : ends) {
    if (layout.channels > 1) {
      channel.min = half_to_float(take_number<uint16_t>(bytes));
      channel.max = half_to_float(take_number<uint16_t>(bytes));
    } else {
      channel.min = take_number<float>(bytes);
      if (layout.grid == LevelGrid::range) channel.max = take_number<float>(bytes);
    }
  }
}

void append_head(const TensorLayout& layout, std::span<const Extremes> ends, BitsTable bits, Coding coding,
                 std::vector<uint8_t>& out) {
  append_ends(layout, ends, out);
  const auto [least, most] = std::ranges::minmax_element(bits);
  const uint8_t fewest = bits.empty() ? 1 : *least;
  int table_bits = fewest == 0 ? 1 : 0;  // no weight without a bit somewhere
  while (!bits.empty() && *most - *least >= 1 << table_bits) ++table_bits;
  out.push_back(fewest);
  out.push_back(static_cast<uint8_t>(table_bits));
  if (table_bits == 0) return;
  std::vector<uint16_t> table(bits.size());
  std::ranges::transform(bits, table.begin(), [&](uint8_t b) { return static_cast<uint16_t>(b - fewest); });
  append_numbers(fewest == 0 ? Coding::bits : coding, table_bits, table, out);
}

/// Takes the head off the front of `bytes`.
Head take_head(const TensorLayout& layout, Coding coding, std::span<const uint8_t>& bytes) {
  if (bytes.size() < ends_bytes(layout) + 2) throw DamagedFile("is too short for its range and widths");
  check_size(layout, coding, bytes);
  Head head;
  take_ends(layout, bytes, head.ends);
  const int least = take_number<uint8_t>(bytes), table_bits = take_number<uint8_t>(bytes);
  if (least < (table_bits > 0 ? 0 : 1) || least > kMostPackedBits || table_bits > 4)
    throw DamagedFile("has groups of " + std::to_string(least) + " bits and a table of " +
                      std::to_string(table_bits) + "; both are out of range");
  const int64_t groups = layout.groups();
  head.bits.assign(static_cast<size_t>(groups), static_cast<uint8_t>(least));
  if (table_bits == 0) return head;
  const NumberList table(least == 0 ? Coding::bits : coding, table_bits, groups, bytes);
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

/// A packed tensor whose head has been read.
class Reader {
 public:
  Reader(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes)
      : coding_(coding),
        rest_(bytes),
        head_(take_head(layout, coding, rest_)),
        sections_(layout, head_.bits) {}

  const Head& head() const { return head_; }
  const Sections& sections() const { return sections_; }

  /// Calls work(width, numbers) for every width that the tensor has levels of.
  template <class Work>
  void for_widths(const Work& work) const {
    std::span<const uint8_t> bytes = rest_;
    for (int width = 1; width < kWidths; ++width) {
      if (sections_.entries(width) == 0) continue;
      const NumberList list(coding_, width, sections_.entries(width), bytes);
      work(width, list);
    }
    if (!bytes.empty())
      throw DamagedFile("has " + std::to_string(bytes.size()) + " bytes more than its levels need");
  }

 private:
  Coding coding_;
  std::span<const uint8_t> rest_;
  Head head_;
  Sections sections_;
};

/// What stands for weights without a bit.
template <class Number>
void fill_vanished(const Sections& sections, Number* numbers) {
  sections.for_runs(0, 0, sections.entries(0), [&](int64_t begin, int64_t run, int64_t) {
    std::fill_n(numbers + begin, run, Number{0});
  });
}

}  // namespace

bool has_vanished_groups(const TensorLayout& layout, std::span<const uint8_t> bytes) {
  return layout.channels <= std::ssize(bytes) / 4 && bytes.size() >= ends_bytes(layout) + 2 &&
         bytes[ends_bytes(layout)] == 0;
}

void check_size(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes) {
  const auto there = static_cast<int64_t>(bytes.size());
  // A byte holds eight numbers at most; in zstd's frames a symbol does, and each width has a frame. Where
  // groups may have no bits there is the table of their widths, a bit each and never in a frame.
  const int64_t symbols = layout.numel / 8;
  int64_t least = coding == Coding::bits ? symbols : kMostPackedBits * least_bytes(symbols / kMostPackedBits);
  if (has_vanished_groups(layout, bytes)) {
    if (layout.group_size > kLongestVanishingGroup) throw DamagedFile("has long groups without bits");
    least = layout.groups() / 8;
  }
  if (there < least) throw DamagedFile("is too short for " + std::to_string(layout.numel) + " weights");
  if (layout.groups() >= int64_t{UINT32_MAX}) throw DamagedFile("has too many groups");
}

std::vector<uint8_t> pack_tensor(const TensorToPack& tensor, Coding coding) {
  std::vector<uint8_t> out;
  const TensorLayout& layout = tensor.layout;
  append_head(layout, tensor.ends, tensor.bits, coding, out);
  const Sections sections(layout, tensor.bits);
  for (int width = 1; width < kWidths; ++width) {
    if (sections.entries(width) == 0) continue;
    const auto of_one_range = [&](int64_t first, int64_t count, uint16_t* found) {
      float weights[kChunk];
      sections.for_runs(width, first, count, [&](int64_t begin, int64_t run, int64_t offset) {
        std::copy_n(tensor.weights + begin, run, weights + offset);
      });
      Levels(layout.grid, width, tensor.ends[0]).of(weights, count, found);
    };
    const auto of_channels = [&](int64_t first, int64_t count, uint16_t* found) {
      sections.for_runs(width, first, count, [&](int64_t begin, int64_t run, int64_t offset) {
        for_channels(
            layout, begin, run, offset, [&](size_t channel, int64_t at, int64_t part, int64_t place) {
              Levels(layout.grid, width, tensor.ends[channel]).of(tensor.weights + at, part, found + place);
            });
      });
    };
    if (layout.channels > 1)
      append_section(coding, width, sections.entries(width), of_channels, out);
    else
      append_section(coding, width, sections.entries(width), of_one_range, out);
  }
  return out;
}

void unpack_tensor(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes,
                   float* weights) {
  const Reader reader(layout, coding, bytes);
  const Sections& sections = reader.sections();
  const std::vector<Extremes>& ends = reader.head().ends;
  fill_vanished(sections, weights);
  reader.for_widths([&](int width, const NumberList& list) {
    for_chunks(sections.entries(width), [&](int64_t first, int64_t count) {
      uint16_t numbers[kChunk];
      float restored[kChunk];
      list.read(first, count, numbers);
      if (layout.channels == 1) Levels(layout.grid, width, ends[0]).restore(numbers, count, restored);
      sections.for_runs(width, first, count, [&](int64_t begin, int64_t run, int64_t offset) {
        if (layout.channels == 1) {
          std::copy_n(restored + offset, run, weights + begin);
          return;
        }
        for_channels(layout, begin, run, offset,
                     [&](size_t channel, int64_t at, int64_t part, int64_t place) {
                       Levels(layout.grid, width, ends[channel]).restore(numbers + place, part, weights + at);
                     });
      });
    });
  });
}

void unpack_levels(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes,
                   uint16_t* levels) {
  const Reader reader(layout, coding, bytes);
  const Sections& sections = reader.sections();
  fill_vanished(sections, levels);
  reader.for_widths([&](int width, const NumberList& list) {
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
  const Reader reader(layout, from, bytes);
  std::vector<uint8_t> out;
  append_head(layout, reader.head().ends, reader.head().bits, to, out);
  reader.for_widths([&](int width, const NumberList& list) {
    append_section(
        to, width, reader.sections().entries(width),
        [&](int64_t first, int64_t count, uint16_t* levels) { list.read(first, count, levels); }, out);
  });
  return out;
}

}  // namespace diffq
