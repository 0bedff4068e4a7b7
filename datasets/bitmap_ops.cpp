#include "datasets/bitmap_ops.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace diffq {
namespace {

constexpr int64_t kChannels = 3;
using Histogram = std::array<int64_t, 256>;
using Table = std::array<uint8_t, 256>;

uint8_t clipped(int64_t value) { return static_cast<uint8_t>(std::clamp<int64_t>(value, 0, 255)); }

Histogram histogram_of(const Bitmap& pixels, int64_t channel) {
  Histogram histogram{};
  for (size_t i = channel; i < pixels.bytes.size(); i += 4) ++histogram[pixels.bytes[i]];
  return histogram;
}

// All channels alike.
template <class Function>
void apply(Bitmap& pixels, const Function& function) {
  Table table;
  for (int x = 0; x < 256; ++x) table[x] = function(x);
  for (uint8_t& byte : pixels.bytes) byte = table[byte];
}

// Each channel by its own histogram.
template <class Function>
void apply_by_channel(Bitmap& pixels, const Function& table_of) {
  for (int64_t channel = 0; channel < kChannels; ++channel) {
    const Table table = table_of(histogram_of(pixels, channel));
    for (size_t i = channel; i < pixels.bytes.size(); i += 4) pixels.bytes[i] = table[pixels.bytes[i]];
  }
}

Table unchanged() {
  Table table;
  std::iota(table.begin(), table.end(), uint8_t{0});
  return table;
}

Table stretching(const Histogram& histogram) {
  int low = 0, high = 255;
  while (low < 255 && histogram[low] == 0) ++low;
  while (high > 0 && histogram[high] == 0) --high;
  if (high <= low) return unchanged();
  const double scale = 255.0 / (high - low), offset = -low * scale;
  Table table;
  for (int x = 0; x < 256; ++x) table[x] = clipped(static_cast<int64_t>(x * scale + offset));
  return table;
}

Table spreading(const Histogram& histogram) {
  const int64_t all = std::accumulate(histogram.begin(), histogram.end(), int64_t{0});
  const auto last = std::find_if(histogram.rbegin(), histogram.rend(), [](int64_t n) { return n > 0; });
  const int64_t step = last == histogram.rend() ? 0 : (all - *last) / 255;
  if (step == 0) return unchanged();
  Table table;
  int64_t before = step / 2;
  for (int x = 0; x < 256; ++x) {
    table[x] = clipped(before / step);
    before += histogram[x];
  }
  return table;
}

// The weights that everyone uses for the grey of a colour, as 16 bits below the point.
uint8_t grey(const uint8_t* pixel) {
  return static_cast<uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16);
}

// factor 0: `without`, 1: `with`; rounded down.
uint8_t blend(uint8_t without, uint8_t with, float factor) {
  const float value =
      static_cast<float>(without) + factor * (static_cast<float>(with) - static_cast<float>(without));
  return static_cast<uint8_t>(std::clamp(value, 0.F, 255.F));
}

}  // namespace

void mirror(Bitmap& pixels) {
  for (int64_t y = 0; y < pixels.height; ++y) {
    uint8_t* row = pixels.row(y);
    for (int64_t left = 0, right = pixels.width - 1; left < right; ++left, --right)
      std::swap_ranges(row + 4 * left, row + 4 * left + 4, row + 4 * right);
  }
}

void invert(Bitmap& pixels) {
  for (uint8_t& byte : pixels.bytes) byte = static_cast<uint8_t>(255 - byte);
}

void auto_contrast(Bitmap& pixels) { apply_by_channel(pixels, stretching); }

void equalize(Bitmap& pixels) { apply_by_channel(pixels, spreading); }

void solarize(Bitmap& pixels, int threshold) {
  apply(pixels, [&](int x) { return clipped(x < threshold ? x : 255 - x); });
}

void solarize_add(Bitmap& pixels, int amount) {
  apply(pixels, [&](int x) { return clipped(x < 128 ? x + amount : x); });
}

void posterize(Bitmap& pixels, int bits) {
  apply(pixels, [&](int x) { return clipped(x >> (8 - bits) << (8 - bits)); });
}

void enhance_color(Bitmap& pixels, float factor) {
  for (size_t i = 0; i < pixels.bytes.size(); i += 4) {
    uint8_t* pixel = &pixels.bytes[i];
    const uint8_t without = grey(pixel);
    for (int64_t c = 0; c < kChannels; ++c) pixel[c] = blend(without, pixel[c], factor);
  }
}

void enhance_contrast(Bitmap& pixels, float factor) {
  int64_t sum = 0;
  for (size_t i = 0; i < pixels.bytes.size(); i += 4) sum += grey(&pixels.bytes[i]);
  const double mean = static_cast<double>(sum) / static_cast<double>(pixels.width * pixels.height);
  const auto without = static_cast<uint8_t>(mean + 0.5);
  apply(pixels, [&](int x) { return blend(without, static_cast<uint8_t>(x), factor); });
}

void enhance_brightness(Bitmap& pixels, float factor) {
  apply(pixels, [&](int x) { return blend(0, static_cast<uint8_t>(x), factor); });
}

void enhance_sharpness(Bitmap& pixels, float factor, Bitmap& room) {
  room.width = pixels.width;
  room.height = pixels.height;
  room.bytes = pixels.bytes;
  // Smoothed by 1 1 1, 1 5 1, 1 1 1 over 13, to the nearest; the outermost pixels stay as they are.
  for (int64_t y = 1; y + 1 < pixels.height; ++y) {
    const uint8_t *above = room.row(y - 1), *here = room.row(y), *below = room.row(y + 1);
    uint8_t* out = pixels.row(y);
#pragma omp simd
    for (int64_t i = 4; i < 4 * (pixels.width - 1); ++i) {
      const int sum = above[i - 4] + above[i] + above[i + 4] + here[i - 4] + 5 * here[i] + here[i + 4] +
                      below[i - 4] + below[i] + below[i + 4];
      out[i] = blend(static_cast<uint8_t>((2 * sum + 13) / 26), here[i], factor);
    }
  }
}

}  // namespace diffq
