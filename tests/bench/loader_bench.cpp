// Training samples from JPEG files a second, and where the time goes, for comparison in one run with Pillow
// and torchvision (tests/bench/compare_loaders.py starts both in turn). Prints one JSON object.
//   loader_bench ROOT [workers] [batch size] [samples] [deit]      ROOT: train/ and val/ with class folders

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "datasets/class_folders.h"
#include "datasets/codecs/jpeg.h"
#include "datasets/loader.h"
#include "datasets/photo_window.h"

namespace {

using namespace diffq;

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }  // of all threads

// The first so many samples of an epoch. A larger number than there are would count batches that are empty.
std::vector<std::vector<int64_t>> first_batches(const Dataset& data, int64_t epoch, int64_t batch_size,
                                                int64_t samples) {
  auto batches = training_batches(data.size(), batch_size, 1, 1, epoch, 0, 1);
  if (samples % batch_size != 0 || samples / batch_size > static_cast<int64_t>(batches.size()))
    throw std::invalid_argument("loader_bench: samples must be whole batches, at most those of an epoch");
  batches.resize(samples / batch_size);
  return batches;
}

// Batches of training samples through the loader: images a second, and the processor's time for each.
nlohmann::json load(const Dataset& data, int64_t epoch, int workers, int64_t batch_size, int64_t samples) {
  const auto batches = first_batches(data, epoch, batch_size, samples);
  const auto count = static_cast<double>(samples);
  const double wall = wall_seconds(), cpu = cpu_seconds();
  Loader loader(data, batches, AugmentKey{1, epoch}, workers);
  while (loader.next()) {
  }
  return {{"images_per_second", count / (wall_seconds() - wall)},
          {"cpu_ms", 1e3 * (cpu_seconds() - cpu) / count}};
}

// Reading and decoding alone of the samples of a batch. All files of a class must be alike.
void decode(const ClassFolders& folders, const PhotoSpec& photos, const AugmentKey& key,
            const std::vector<int64_t>& samples, const at::Tensor& labels, Bitmap& pixels) {
  for (size_t i = 0; i < samples.size(); ++i) {
    const int64_t file = folders.train.class_begin(labels.const_data_ptr<int64_t>()[i]);
    std::ifstream in(folders.path(folders.train, file), std::ios::binary);
    std::vector<uint8_t> bytes(folders.train.bytes(file));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    JpegReader jpeg(bytes);
    const Box box = training_window(photos, jpeg.height(), jpeg.width(), key, samples[i]).box;
    const int eighths = jpeg.scale_for(box, photos.crop, photos.crop);
    const auto scaled = [&](double length) { return static_cast<int64_t>(length * eighths / 8); };
    jpeg.read(eighths, {scaled(box.left), scaled(box.top), scaled(box.width), scaled(box.height)}, pixels);
  }
}

// Batch by batch in turn, so that what disturbs one disturbs the other.
nlohmann::json divide_time(const Dataset& data, const ClassFolders& folders, const PhotoSpec& photos,
                           int64_t batch_size, int64_t samples) {
  const auto batches = first_batches(data, 2, batch_size, samples);
  const AugmentKey key{1, 2};
  Bitmap pixels;
  double all = 0, decoding = 0;
  for (const std::vector<int64_t>& batch : batches) {
    const double start = cpu_seconds();
    const at::Tensor labels = data.batch(batch, key).target;
    const double middle = cpu_seconds();
    decode(folders, photos, key, batch, labels, pixels);
    all += middle - start;
    decoding += cpu_seconds() - middle;
  }
  const auto count = static_cast<double>(samples);
  return {{"decode_ms", 1e3 * decoding / count}, {"rest_ms", 1e3 * (all - decoding) / count}};
}

// How much more arithmetic without any memory `threads` do than one: what a busy machine has to give just
// now.
double possible_speedup(int threads) {
  const auto spin = [] {
    volatile double sum = 0;
    for (int i = 0; i < 100'000'000; ++i) sum = sum + 1;
  };
  const double start = wall_seconds();
  spin();
  const double middle = wall_seconds();
  {
    std::vector<std::jthread> all;
    for (int i = 0; i < threads; ++i) all.emplace_back(spin);
  }
  return threads * (middle - start) / (wall_seconds() - middle);
}

}  // namespace

int main(int argc, char** argv) {
  DataSpec spec;
  spec.name = DataName::imagenet;
  spec.root = argv[1];
  spec.valid_samples = 0;
  if (argc > 5 && std::string_view(argv[5]) == "deit") {
    spec.photos.interpolation = Interpolation::bicubic;
    spec.photos.rand_augment = 9;
    spec.photos.random_erasing = 0.25;
  }
  const int workers = argc > 2 ? std::atoi(argv[2]) : 1;
  const int64_t batch_size = argc > 3 ? std::atoll(argv[3]) : 32,
                samples = argc > 4 ? std::atoll(argv[4]) : 256;
  const DataSplits splits = open_data(spec);
  const ClassFolders folders = list_class_folders(spec.root);
  load(*splits.train, 0, workers, batch_size, samples);  // warms up
  nlohmann::json result = load(*splits.train, 1, workers, batch_size, samples);
  if (workers > 1) result["possible_speedup"] = possible_speedup(workers);
  if (workers == 1) result.update(divide_time(*splits.train, folders, spec.photos, batch_size, samples));
  std::printf("%s\n", result.dump().c_str());
}
