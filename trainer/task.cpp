#include "trainer/task.h"

#include <torch/torch.h>

namespace diffq {

std::unique_ptr<Task> make_task(const RunSpec& spec, const DataShape& shape) {
  torch::manual_seed(spec.seed);
  return make_image_task(spec, std::get<ImageShape>(shape));
}

}  // namespace diffq
