#pragma once
// What the user asked of a data set. Plain values, read and checked by sweeps/.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace diffq {

/// What a data set and a model are for; the two of a run must agree.
enum class BenchmarkName { image, language, audio };
inline constexpr std::array<std::pair<std::string_view, BenchmarkName>, 3> kBenchmarkNames{
    {{"image", BenchmarkName::image},
     {"language", BenchmarkName::language},
     {"audio", BenchmarkName::audio}}};

/// mnist: the four IDX files with their known counts and shapes; idx: four IDX files of any image set;
/// cifar10, cifar100: the folders of binary files as distributed; imagenet: a folder of JPEG files a class;
/// wikitext103: the folder as distributed; text: train.txt, valid.txt and test.txt of any text;
/// musdb, stems, openmsx_synthesised: music with its stems (music_tracks.h).
enum class DataName {
  mnist,
  idx,
  cifar10,
  cifar100,
  imagenet,
  wikitext103,
  text,
  musdb,
  stems,
  openmsx_synthesised
};
inline constexpr std::array<std::pair<std::string_view, DataName>, 10> kDataNames{
    {{"mnist", DataName::mnist},
     {"idx", DataName::idx},
     {"cifar10", DataName::cifar10},
     {"cifar100", DataName::cifar100},
     {"imagenet", DataName::imagenet},
     {"wikitext103", DataName::wikitext103},
     {"text", DataName::text},
     {"musdb", DataName::musdb},
     {"stems", DataName::stems},
     {"openmsx_synthesised", DataName::openmsx_synthesised}}};

constexpr BenchmarkName benchmark_name(DataName name) {
  switch (name) {
    case DataName::wikitext103:
    case DataName::text:
      return BenchmarkName::language;
    case DataName::musdb:
    case DataName::stems:
    case DataName::openmsx_synthesised:
      return BenchmarkName::audio;
    default:
      return BenchmarkName::image;
  }
}

/// Training pictures are shifted by up to `shift` pixels each way (zeros come in), then cut to crop x crop at
/// a random place; evaluation cuts the centre. Both are functions of (seed, epoch, sample).
struct AugmentSpec {
  int64_t shift = 0;
  int64_t crop = 0;  ///< 0: no cut
  bool flip = false;
};

/// Between the pixels of a photo.
enum class Interpolation { bilinear, bicubic };
inline constexpr std::array<std::pair<std::string_view, Interpolation>, 2> kInterpolationNames{
    {{"bilinear", Interpolation::bilinear}, {"bicubic", Interpolation::bicubic}}};

/// The same for photos of all sizes (imagenet), which become crop x crop pixels. Training: a part of random
/// area and shape, or else as in evaluation: the shorter side becomes `resize` pixels, then the centre is
/// cut.
struct PhotoSpec {
  bool random_resized_crop = true;
  bool flip = true;
  int64_t resize = 256;
  int64_t crop = 224;
  Interpolation interpolation = Interpolation::bilinear;
  double rand_augment = 0;    ///< magnitude of RandAugment, up to 10; 0: none
  double random_erasing = 0;  ///< part of the training samples of which a box is erased
  int64_t repeats = 1;        ///< a training sample comes so many times in a row, each augmented by itself,
                              ///< and an epoch has so many times fewer samples
};

/// Random changes of training segments and their stems; functions of (seed, epoch, sample), remixing of
/// (seed, epoch, place in the epoch).
struct MusicAugmentSpec {
  bool shift = true;                        ///< a segment begins anywhere in the stride after its place
  bool flip_channels = true;                ///< left and right of a stem change places, or not
  bool flip_sign = true;                    ///< of a stem, or not
  double min_gain = 0.25, max_gain = 1.25;  ///< of a stem
  int64_t remix_group = 4;                  ///< so many neighbours in a batch exchange their stems; 1: none
};

/// Of music. Training takes segments at every stride, held-out tracks are cut into segments without overlap.
struct MusicSpec {
  int64_t rate = 44100;  ///< of all files, frames a second
  int64_t channels = 2;  ///< of all files
  double segment_seconds = 10;
  double stride_seconds = 1;
  int64_t train_segments = 0, valid_segments = 0, test_tracks = 0;  ///< only the first so many; 0: all
  MusicAugmentSpec augment;
};

enum class TextUnit { word, character };
inline constexpr std::array<std::pair<std::string_view, TextUnit>, 2> kTextUnitNames{
    {{"word", TextUnit::word}, {"char", TextUnit::character}}};

/// Text becomes tokens: words (what stands between white space) or characters, and blocks of tokens are the
/// samples.
struct TextSpec {
  TextUnit unit = TextUnit::word;
  int64_t vocabulary = 0;  ///< only the most frequent of the training part, two tokens of ours included, are
                           ///< told apart; 0: all
  bool line_ends = false;  ///< words: the end of a line is a token too
  int64_t block = 512;     ///< tokens of a sample
  int64_t context = 0;     ///< evaluation: blocks overlap by so many tokens, which are not judged again
};

struct DataSpec {
  DataName name = DataName::mnist;
  std::string root;           ///< folder; not part of a run's identity
  int64_t train_samples = 0;  ///< use only the first so many training samples; 0: all that are not held out
  int64_t valid_samples = 10000;  ///< the last so many training samples are held out for metric_valid;
                                  ///< imagenet: so many of all classes alike
  int64_t test_samples = 0;       ///< use only the first so many test samples; 0: all
  AugmentSpec augment;            ///< of pictures of one size
  PhotoSpec photos;               ///< of imagenet
  TextSpec text;                  ///< of text and wikitext103
  MusicSpec music;                ///< of music, in place of the samples above
  int64_t max_corrupt =
      100;          ///< imagenet: more files that can't be decoded stop a run; not part of its identity
  int workers = 1;  ///< loader threads a rank; not part of a run's identity
};

}  // namespace diffq
