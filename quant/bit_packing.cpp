#include "quant/bit_packing.h"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace diffq {
namespace {

static_assert(std::endian::native == std::endian::little, "packed files are little-endian");

// Eight numbers are two halves of four, which fit into 64 bits each. All shifts are constants.
template <int kWidth>
inline void pack_8(const uint16_t* numbers, uint8_t* bytes) {
  uint64_t low = 0, high = 0;
  for (int k = 0; k < 4; ++k) {
    low |= uint64_t{numbers[k]} << (k * kWidth);
    high |= uint64_t{numbers[k + 4]} << (k * kWidth);
  }
  if constexpr (kWidth <= 8) {
    const uint64_t all = low | high << (4 * kWidth);
    std::memcpy(bytes, &all, kWidth);
  } else {
    const uint64_t first = low | high << (4 * kWidth), second = high >> (64 - 4 * kWidth);
    std::memcpy(bytes, &first, 8);
    std::memcpy(bytes + 8, &second, kWidth - 8);
  }
}

template <int kWidth>
inline void unpack_8(const uint8_t* bytes, uint16_t* numbers) {
  constexpr uint64_t kMask = (uint64_t{1} << kWidth) - 1;
  uint64_t low = 0, high = 0;
  if constexpr (kWidth <= 8) {
    std::memcpy(&low, bytes, kWidth);
    high = low >> (4 * kWidth);
  } else {
    uint64_t second = 0;
    std::memcpy(&low, bytes, 8);
    std::memcpy(&second, bytes + 8, kWidth - 8);
    high = low >> (4 * kWidth) | second << (64 - 4 * kWidth);
  }
  for (int k = 0; k < 4; ++k) {
    numbers[k] = static_cast<uint16_t>(low >> (k * kWidth) & kMask);
    numbers[k + 4] = static_cast<uint16_t>(high >> (k * kWidth) & kMask);
  }
}

template <int kWidth>
void pack(const uint16_t* numbers, int64_t count, uint8_t* bytes) {
  for (; count >= 8; count -= 8, numbers += 8, bytes += kWidth) pack_8<kWidth>(numbers, bytes);
  if (count == 0) return;
  uint16_t padded[8] = {};
  uint8_t packed[kWidth];
  std::memcpy(padded, numbers, sizeof(uint16_t) * static_cast<size_t>(count));
  pack_8<kWidth>(padded, packed);
  std::memcpy(bytes, packed, static_cast<size_t>(packed_bytes(count, kWidth)));
}

template <int kWidth>
void unpack(const uint8_t* bytes, int64_t count, uint16_t* numbers) {
  for (; count >= 8; count -= 8, numbers += 8, bytes += kWidth) unpack_8<kWidth>(bytes, numbers);
  if (count == 0) return;
  uint8_t packed[kWidth] = {};
  uint16_t padded[8];
  std::memcpy(packed, bytes, static_cast<size_t>(packed_bytes(count, kWidth)));
  unpack_8<kWidth>(packed, padded);
  std::memcpy(numbers, padded, sizeof(uint16_t) * static_cast<size_t>(count));
}

using Pack = void (*)(const uint16_t*, int64_t, uint8_t*);
using Unpack = void (*)(const uint8_t*, int64_t, uint16_t*);

template <int... kWidths>
constexpr std::array<Pack, sizeof...(kWidths)> packs(std::integer_sequence<int, kWidths...>) {
  return {pack<kWidths + 1>...};
}
template <int... kWidths>
constexpr std::array<Unpack, sizeof...(kWidths)> unpacks(std::integer_sequence<int, kWidths...>) {
  return {unpack<kWidths + 1>...};
}

// At place w - 1: that of width w.
constexpr auto kPack = packs(std::make_integer_sequence<int, kMostPackedBits>());
constexpr auto kUnpack = unpacks(std::make_integer_sequence<int, kMostPackedBits>());

}  // namespace

void pack_bits(int width, const uint16_t* numbers, int64_t count, uint8_t* bytes) {
  kPack.at(static_cast<size_t>(width - 1))(numbers, count, bytes);
}

void unpack_bits(int width, const uint8_t* bytes, int64_t count, uint16_t* numbers) {
  kUnpack.at(static_cast<size_t>(width - 1))(bytes, count, numbers);
}

}  // namespace diffq
