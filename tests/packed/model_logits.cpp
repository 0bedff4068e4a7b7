// Logits of a packed image model, for comparison with the published definitions in Python
// (published_logits.py).
//   model_logits FILE INPUT.f32 CHANNELS HEIGHT WIDTH CLASSES OUT.f32      float32, [samples, …], row-major

#include <torch/torch.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "sweeps/sweep.h"
#include "trainer/model_file.h"
#include "trainer/models/models.h"

int main(int argc, char** argv) {
  using namespace diffq;
  if (argc != 8)
    return std::fprintf(stderr, "model_logits FILE INPUT CHANNELS HEIGHT WIDTH CLASSES OUT\n"), 2;
  torch::NoGradGuard no_grad;
  const PackedModel file = PackedModel::read(argv[1]);
  const ImageShape shape{std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5]), std::atoll(argv[6])};
  const auto model = make_image_model(read_model_config(file.config(), argv[1]).model, shape);
  load_module(file, *model);
  model->eval();
  std::ifstream input(argv[2], std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(input), {}};
  const at::Tensor pictures =
      at::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size()) / 4}, at::kFloat)
          .view({-1, shape.channels, shape.height, shape.width});
  const at::Tensor logits = model->forward(pictures).contiguous();
  std::ofstream out(argv[7], std::ios::binary);
  out.write(static_cast<const char*>(logits.const_data_ptr()), static_cast<std::streamsize>(logits.nbytes()));
  out.close();
  return out ? 0 : 1;
}
