#include "trainer/task.h"

#include <torch/torch.h>

#include <stdexcept>

namespace diffq {
namespace {

// A sweep file that mixes benchmarks is refused when it is read.
template <class Shape>
const Shape& of_kind(const DataShape& shape) {
  if (const Shape* found = std::get_if<Shape>(&shape)) return *found;
  throw std::invalid_argument("model.name: is for data of another kind");
}

}  // namespace

std::unique_ptr<Task> make_task(const RunSpec& spec, const DataShape& shape) {
  torch::manual_seed(spec.seed);
  switch (benchmark_name(spec.model.name)) {
    case BenchmarkName::language:
      return make_language_task(spec, of_kind<TextShape>(shape));
    case BenchmarkName::audio:
      return make_audio_task(spec, of_kind<MusicShape>(shape));
    default:
      return make_image_task(spec, of_kind<ImageShape>(shape));
  }
}

}  // namespace diffq
