#include "quant/level_coding.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "quant/bit_packing.h"

namespace diffq {
namespace {

constexpr uint8_t kAsBits = 0, kByZstd = 1;
/// Levels have no patterns worth a search: the fastest level's entropy coder comes as close to the entropy as
/// the slowest's, 250 times as fast.
constexpr int kZstdLevel = 1;
/// zstd's entropy coder counts bytes, so narrow numbers share one, and of wide ones the upper eight bits go
/// there: their lower bits are as good as random.
int numbers_a_symbol(int width) { return width <= 4 ? 8 / width : 1; }
int lower_bits(int width) { return std::max(0, width - 8); }

int64_t symbol_count(int width, int64_t numbers) {
  const int each = numbers_a_symbol(width);
  return numbers / each + (numbers % each != 0);
}

std::vector<uint8_t> symbols_of(int width, std::span<const uint16_t> numbers) {
  const int each = numbers_a_symbol(width);
  std::vector<uint8_t> symbols(
      static_cast<size_t>(symbol_count(width, static_cast<int64_t>(numbers.size()))));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto place = static_cast<int>(i % static_cast<size_t>(each)) * width;
    symbols[i / static_cast<size_t>(each)] |= static_cast<uint8_t>(numbers[i] >> lower_bits(width) << place);
  }
  return symbols;
}

void append_packed(int width, std::span<const uint16_t> numbers, std::vector<uint8_t>& out) {
  const auto count = static_cast<int64_t>(numbers.size());
  const size_t before = out.size();
  out.resize(before + static_cast<size_t>(packed_bytes(count, width)));
  pack_bits(width, numbers.data(), count, out.data() + before);
}

/// Makes a frame that is shorter than `least` so long, by a frame that zstd skips.
void pad_frame(std::vector<uint8_t>& frame, int64_t least) {
  constexpr uint32_t kSkippable = 0x184D2A50;
  const auto missing = least - static_cast<int64_t>(frame.size());
  if (missing <= 0) return;
  const auto filling = static_cast<uint32_t>(std::max<int64_t>(0, missing - 8));
  const size_t before = frame.size();
  frame.resize(before + 8 + filling);
  std::memcpy(frame.data() + before, &kSkippable, 4);
  std::memcpy(frame.data() + before + 4, &filling, 4);
}

/// Takes `count` bytes off the front.
std::span<const uint8_t> take(std::span<const uint8_t>& bytes, uint64_t count) {
  if (count > bytes.size()) {
    throw DamagedFile("ends too early: " + std::to_string(count) + " bytes should follow, there are " +
                      std::to_string(bytes.size()));
  }
  const auto taken = bytes.first(count);
  bytes = bytes.subspan(count);
  return taken;
}

}  // namespace

int64_t least_bytes(int64_t symbols) { return symbols / 1000; }

void append_numbers(Coding coding, int width, std::span<const uint16_t> numbers, std::vector<uint8_t>& out) {
  if (coding == Coding::bits) {
    append_packed(width, numbers, out);
    return;
  }
  const std::vector<uint8_t> symbols = symbols_of(width, numbers);
  std::vector<uint8_t> frame(ZSTD_compressBound(symbols.size()));
  const size_t coded = ZSTD_compress(frame.data(), frame.size(), symbols.data(), symbols.size(), kZstdLevel);
  if (ZSTD_isError(coded)) throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(coded));
  frame.resize(coded);
  const auto count = static_cast<int64_t>(numbers.size());
  pad_frame(frame, least_bytes(static_cast<int64_t>(symbols.size())));
  const auto length = static_cast<int64_t>(frame.size());
  if (length + 4 + packed_bytes(count, lower_bits(width)) >= packed_bytes(count, width) ||
      length > UINT32_MAX) {
    out.push_back(kAsBits);
    append_packed(width, numbers, out);
    return;
  }
  out.push_back(kByZstd);
  const auto length32 = static_cast<uint32_t>(length);
  const auto* length_bytes = reinterpret_cast<const uint8_t*>(&length32);
  out.insert(out.end(), length_bytes, length_bytes + sizeof length32);
  out.insert(out.end(), frame.begin(), frame.end());
  if (const int low = lower_bits(width); low > 0) {
    std::vector<uint16_t> rest(numbers.begin(), numbers.end());
    for (uint16_t& number : rest) number &= static_cast<uint16_t>((1 << low) - 1);
    append_packed(low, rest, out);
  }
}

NumberList::NumberList(Coding coding, int width, int64_t count, std::span<const uint8_t>& bytes)
    : width_(width) {
  if (coding == Coding::zstd) {
    const uint8_t way = take(bytes, 1)[0];
    if (way != kAsBits && way != kByZstd)
      throw DamagedFile("names an unknown coding, " + std::to_string(way));
    entropy_coded_ = way == kByZstd;
  }
  if (!entropy_coded_) {
    packed_ = take(bytes, static_cast<uint64_t>(packed_bytes(count, width)));
    return;
  }
  uint32_t length = 0;
  std::memcpy(&length, take(bytes, sizeof length).data(), sizeof length);
  const auto frame = take(bytes, length);
  const int64_t symbols = symbol_count(width, count);
  if (length < least_bytes(symbols)) throw DamagedFile("claims more levels than its bytes can hold");
  symbols_.resize(static_cast<size_t>(symbols));
  const size_t got = ZSTD_decompress(symbols_.data(), symbols_.size(), frame.data(), frame.size());
  if (ZSTD_isError(got)) throw DamagedFile(std::string("can't be decompressed: ") + ZSTD_getErrorName(got));
  if (got != symbols_.size()) throw DamagedFile("decompresses to fewer levels than it should");
  packed_ = take(bytes, static_cast<uint64_t>(packed_bytes(count, lower_bits(width))));
}

void NumberList::read(int64_t first, int64_t count, uint16_t* numbers) const {
  const int low = lower_bits(width_);
  const int packed_width = entropy_coded_ ? low : width_;
  if (packed_width > 0) unpack_bits(packed_width, packed_.data() + first / 8 * packed_width, count, numbers);
  if (!entropy_coded_) return;
  const int each = numbers_a_symbol(width_);
  const auto mask = static_cast<uint16_t>((1 << (width_ - low)) - 1);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = first + i;
    const int place = static_cast<int>(at % each) * width_;
    const auto upper = static_cast<uint16_t>(symbols_[static_cast<size_t>(at / each)] >> place & mask);
    numbers[i] = static_cast<uint16_t>(upper << low | (low > 0 ? numbers[i] : 0));
  }
}

}  // namespace diffq
