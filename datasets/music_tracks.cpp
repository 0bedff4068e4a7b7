#include "datasets/music_tracks.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "datasets/codecs/sound_file.h"
#include "datasets/codecs/stem_mp4.h"
#include "datasets/fail.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStemMp4 = ".stem.mp4";
constexpr const char* kLayout =
    "a track's folder holds mixture.wav, drums.wav, bass.wav, other.wav and vocals.wav";

// The tracks that the `musdb` package holds out of training.
constexpr std::array<std::string_view, 14> kPublishedValidation{
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens"};

std::vector<std::string> parts() {
  std::vector<std::string> all{"mixture"};
  all.insert(all.end(), kStems.begin(), kStems.end());
  return all;
}

/// Folders and .stem.mp4 files in a part of the data, by name; other files (a README, say) are none of ours.
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::is_directory(folder))
    fail(folder.string(),
         "is not there; the layout is that of MUSDB18-HQ: train and test, and in them a folder a track");
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.') && (entry.is_directory() || name.ends_with(kStemMp4)))
      found.push_back(entry.path());
  }
  if (found.empty()) fail(folder.string(), std::string("holds no tracks; ") + kLayout);
  std::ranges::sort(found);
  return found;
}

/// The path of a file that a track must have.
std::string existing(const std::string& path) {
  if (!fs::exists(path)) fail(path, std::string("is not there; ") + kLayout);
  return path;
}

std::string stamp_of(const fs::path& file) {
  return std::to_string(fs::file_size(file)) + " " +
         std::to_string(fs::last_write_time(file).time_since_epoch().count());
}

/// The folder that a .stem.mp4 is decoded into: made when it is not there, or of another file. Renamed into
/// place whole, so that ranks that decode at once do no harm.
fs::path decoded(const fs::path& file) {
  const std::string name = file.filename().string();
  const fs::path folder = file.parent_path() / ".decoded" / name.substr(0, name.size() - kStemMp4.size());
  std::ifstream mark(folder / "source");
  if (std::string(std::istreambuf_iterator<char>(mark), {}) == stamp_of(file)) return folder;
  const fs::path work = folder.string() + "." + std::to_string(getpid());
  try {
    fs::remove_all(work);
    fs::create_directories(work);
    std::vector<std::string> outputs;
    for (const std::string& part : parts()) outputs.push_back(work / (part + ".wav"));
    decode_streams(file, outputs);
    std::ofstream(work / "source") << stamp_of(file);
    fs::remove_all(folder);
    fs::rename(work, folder);
  } catch (const fs::filesystem_error& error) {
    fail(work.string(), std::string("can't be written: ") + error.code().message() +
                            "; the stems are decoded there once, so that it must be writable");
  }
  return folder;
}

MusicTrack open_track(const fs::path& entry, const MusicSpec& spec) {
  const bool folder = fs::is_directory(entry);
  MusicTrack track{entry.filename().string(), (folder ? entry : decoded(entry)).string()};
  if (!folder) track.name.resize(track.name.size() - kStemMp4.size());
  for (const std::string& part : parts()) {
    const std::string path = existing(track.path(part));
    const SoundInfo info = sound_info(path);
    const auto refuse = [&](const char* unit, int64_t there, int64_t asked, const std::string& key) {
      fail(path, "has " + std::to_string(there) + " " + unit + ", not " + std::to_string(asked) +
                     "; convert it, or set data." + key + " when all files have so many");
    };
    if (info.rate != spec.rate) refuse("frames a second", info.rate, spec.rate, "rate");
    if (info.channels != spec.channels) refuse("channels", info.channels, spec.channels, "channels");
    if (part == "mixture") track.frames = info.frames;
    if (info.frames != track.frames) {
      fail(path, "has " + std::to_string(info.frames) + " frames, but its mixture.wav " +
                     std::to_string(track.frames) + "; all files of a track must have one length");
    }
  }
  if (track.frames == 0) fail(track.path("mixture"), "holds no sound");
  return track;
}

std::vector<MusicTrack> open_part(const fs::path& folder, const MusicSpec& spec) {
  std::vector<MusicTrack> tracks;
  for (const fs::path& entry : entries(folder)) tracks.push_back(open_track(entry, spec));
  return tracks;
}

bool is_published_validation(const MusicTrack& track) {
  return std::ranges::find(kPublishedValidation, track.name) != kPublishedValidation.end();
}

}  // namespace

MusicTracks open_tracks(const DataSpec& spec) {
  const fs::path root = spec.root;
  MusicTracks tracks{open_part(root / "train", spec.music), {}, open_part(root / "test", spec.music)};
  if (fs::is_directory(root / "valid")) {
    tracks.valid = open_part(root / "valid", spec.music);
    return tracks;
  }
  auto held_out = tracks.train.end() - std::max<int64_t>(1, int64_t(tracks.train.size()) / 7);
  if (spec.name == DataName::musdb && std::ranges::any_of(tracks.train, is_published_validation))
    held_out = std::ranges::stable_partition(tracks.train, std::not_fn(is_published_validation)).begin();
  tracks.valid.assign(std::make_move_iterator(held_out), std::make_move_iterator(tracks.train.end()));
  tracks.train.erase(held_out, tracks.train.end());
  if (tracks.train.empty())
    fail((root / "train").string(),
         "leaves no track to train on besides those held out; add some, or a folder valid");
  return tracks;
}

std::vector<std::string> music_files(const std::string& root) {
  std::vector<std::string> files;
  for (const char* part : {"train", "valid", "test"}) {
    const fs::path folder = fs::path(root) / part;
    if (part == std::string_view("valid") && !fs::is_directory(folder)) continue;
    for (const fs::path& entry : entries(folder)) {
      if (!fs::is_directory(entry)) {
        files.push_back(fs::relative(entry, root).string());
        continue;
      }
      for (const std::string& name : parts())
        files.push_back(fs::relative(existing(entry / (name + ".wav")), root).string());
    }
  }
  return files;
}

}  // namespace diffq
