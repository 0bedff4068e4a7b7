#include "trainer/task.h"

#include <torch/torch.h>

namespace diffq {

std::unique_ptr<Task> make_task(const RunSpec& spec, const DataShape& shape) {
  torch::manual_seed(spec.seed);
  if (const auto* music = std::get_if<MusicShape>(&shape)) return make_audio_task(spec, *music);
  return make_image_task(spec, std::get<ImageShape>(shape));
}

}  // namespace diffq
