#include "datasets/codecs/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
// After stdio.h, which it needs.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <string>

#include "datasets/codecs/exif.h"

#ifndef LIBJPEG_TURBO_VERSION
#error "libjpeg-turbo is needed: other libjpegs can't decode a part of a picture"
#endif

namespace diffq {
namespace {

// Warnings after which libjpeg makes up pixels; it has others for what does no harm.
bool is_damage(int code) {
  return code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
         code == JWRN_MUST_RESYNC;
}

struct ErrorManager : jpeg_error_mgr {
  jmp_buf back;
  char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* errors = static_cast<ErrorManager*>(info->err);
  errors->format_message(info, errors->text);
  longjmp(errors->back, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && is_damage(info->err->msg_code)) leave(info);
}

// What is shown at (x, y) is stored at (x, y) after changing places and sides.
struct Orientation {
  bool transposed, from_right, from_bottom;
};

Orientation orientation_of(int exif) {
  return {exif >= 5, exif == 2 || exif == 3 || exif == 7 || exif == 8,
          exif == 3 || exif == 4 || exif == 6 || exif == 7};
}

// Adobe's convention, which all programs follow: 255 is no ink.
void cmyk_to_rgb(Bitmap& pixels) {
  for (size_t i = 0; i < pixels.bytes.size(); i += 4) {
    const int black = pixels.bytes[i + 3];
    for (size_t c = 0; c < 3; ++c)
      pixels.bytes[i + c] = static_cast<uint8_t>((pixels.bytes[i + c] * black + 127) / 255);
  }
}

Rect stored_part(const Rect& shown, const Orientation& orientation, int64_t width, int64_t height) {
  Rect part = shown;
  if (orientation.transposed) part = {shown.top, shown.left, shown.height, shown.width};
  if (orientation.from_right) part.left = width - part.left - part.width;
  if (orientation.from_bottom) part.top = height - part.top - part.height;
  return part;
}

Bitmap as_shown(const Bitmap& stored, const Orientation& orientation) {
  Bitmap shown;
  if (orientation.transposed) {
    shown.resize(stored.height, stored.width);
  } else {
    shown.resize(stored.width, stored.height);
  }
  for (int64_t y = 0; y < shown.height; ++y) {
    for (int64_t x = 0; x < shown.width; ++x) {
      int64_t from_x = orientation.transposed ? y : x, from_y = orientation.transposed ? x : y;
      if (orientation.from_right) from_x = stored.width - 1 - from_x;
      if (orientation.from_bottom) from_y = stored.height - 1 - from_y;
      std::copy_n(stored.row(from_y) + 4 * from_x, 4, shown.row(y) + 4 * x);
    }
  }
  return shown;
}

}  // namespace

// libjpeg leaves on errors by longjmp: the functions that it leaves hold nothing that needs a destructor.
struct JpegReader::State {
  ErrorManager errors;
  jpeg_decompress_struct info{};
  Orientation orientation{};

  State() {
    info.err = jpeg_std_error(&errors);
    errors.error_exit = leave;
    errors.emit_message = on_message;
  }
  ~State() { jpeg_destroy_decompress(&info); }

  bool read_header(std::span<const uint8_t> bytes) {
    if (setjmp(errors.back) != 0) return false;
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, bytes.data(), bytes.size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info, TRUE);
    return true;
  }

  int exif_orientation() const {
    for (auto* marker = info.marker_list; marker != nullptr; marker = marker->next) {
      if (const int found = exif_orientation_of({marker->data, marker->data_length})) return found;
    }
    return 1;
  }

  bool has_cmyk() const { return info.num_components == 4; }

  bool start(int eighths) {
    if (setjmp(errors.back) != 0) return false;
    info.scale_num = eighths;
    info.scale_denom = 8;
    info.out_color_space = has_cmyk() ? JCS_CMYK : JCS_EXT_RGBX;
    jpeg_start_decompress(&info);
    return true;
  }

  // Columns [left, left + width) of what is decoded go to `rows`; the rows of a part lie row_bytes apart.
  bool read_rows(const Rect& part, uint8_t* line, uint8_t* rows) {
    if (setjmp(errors.back) != 0) return false;
    // Chroma is interpolated from its neighbours: decode two columns more, where there are any, so that the
    // part is the same as of the whole picture. What comes begins at a multiple of the block's width.
    JDIMENSION first = static_cast<JDIMENSION>(std::max<int64_t>(part.left - 2, 0));
    JDIMENSION width =
        static_cast<JDIMENSION>(std::min<int64_t>(part.left + part.width + 2, info.output_width) - first);
    jpeg_crop_scanline(&info, &first, &width);
    if (part.top > 0) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(part.top));
    for (int64_t y = 0; y < part.height; ++y) {
      jpeg_read_scanlines(&info, &line, 1);
      std::copy_n(line + 4 * (part.left - first), 4 * part.width, rows + 4 * part.width * y);
    }
    return true;
  }
};

JpegReader::JpegReader(std::span<const uint8_t> bytes) : state_(std::make_unique<State>()) {
  if (bytes.empty()) throw JpegError("is empty");
  if (bytes.size() < 2 || bytes[0] != 0xff || bytes[1] != 0xd8) throw JpegError("is not a JPEG file");
  if (!state_->read_header(bytes)) throw JpegError(state_->errors.text);
  const auto& info = state_->info;
  const int64_t pixels = int64_t{info.image_width} * info.image_height;
  if (pixels > kMaxJpegPixels) {
    throw JpegError("has " + std::to_string(info.image_width) + " x " + std::to_string(info.image_height) +
                    " pixels, more than " + std::to_string(kMaxJpegPixels));
  }
  // Checked here so that a file that is cut short is so whatever part of it is asked for. Within coded data
  // this pair of bytes does not occur.
  const auto coded = bytes.last(info.src->bytes_in_buffer);
  constexpr std::array<uint8_t, 2> kEndOfImage{0xff, 0xd9};
  if (std::find_end(coded.begin(), coded.end(), kEndOfImage.begin(), kEndOfImage.end()) == coded.end())
    throw JpegError("is cut short: it lacks its end");
  state_->orientation = orientation_of(state_->exif_orientation());
}

JpegReader::~JpegReader() = default;

int64_t JpegReader::width() const {
  return state_->orientation.transposed ? state_->info.image_height : state_->info.image_width;
}

int64_t JpegReader::height() const {
  return state_->orientation.transposed ? state_->info.image_width : state_->info.image_height;
}

int JpegReader::scale_for(const Box& box, int64_t width, int64_t height) const {
  int eighths = 1;  // 3, 5, 6, 7 exist as well, but are slower than 8: they are not vectorised
  while (eighths < 8 && (box.width * eighths < 8.0 * static_cast<double>(width) ||
                         box.height * eighths < 8.0 * static_cast<double>(height)))
    eighths *= 2;
  return eighths;
}

void JpegReader::read(int eighths, const Rect& part, Bitmap& pixels) {
  State& state = *state_;
  if (!state.start(eighths)) throw JpegError(state.errors.text);
  const Orientation& orientation = state.orientation;
  const Rect stored = stored_part(part, orientation, state.info.output_width, state.info.output_height);
  std::vector<uint8_t> line(4 * size_t{state.info.output_width});
  pixels.resize(stored.width, stored.height);
  if (!state.read_rows(stored, line.data(), pixels.row(0))) throw JpegError(state.errors.text);
  if (state.has_cmyk()) cmyk_to_rgb(pixels);
  if (orientation.transposed || orientation.from_right || orientation.from_bottom)
    pixels = as_shown(pixels, orientation);
}

}  // namespace diffq
