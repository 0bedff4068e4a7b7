#pragma once
// Demucs, the separator of music in the time domain (arXiv:1911.13254, version 2): convolutions down, an LSTM
// both ways through the bottom, convolutions up with the levels' outputs added. Names of parameters are those
// of the published checkpoints. 265,679,496 parameters with 2 audio channels, 4 sources, 64 channels,
// depth 6.

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/rnn.h>

#include "trainer/models/layers.h"
#include "trainer/models/sinc_resample.h"
#include "trainer/run_spec.h"

namespace diffq {

class Demucs : public torch::nn::Module {
 public:
  /// Initial weights come from torch's default generator.
  Demucs(const DemucsSpec& spec, int64_t sources, int64_t audio_channels);

  /// A mixture [samples, audio channels, time] -> stems [samples, sources, audio channels, time]. Any length:
  /// zeros are added at both ends up to the next length that the convolutions fit.
  at::Tensor forward(const at::Tensor& mixture);

  /// The least length, at least `length`, that the convolutions use up and give back.
  int64_t fitting_length(int64_t length) const;

 private:
  at::Tensor separate(const at::Tensor& mixture);

  int64_t sources_;
  torch::nn::ModuleList encoder_, decoder_;
  torch::nn::LSTM lstm_{nullptr};
  Linear linear_{nullptr};
  SincResample up_{1, 2}, down_{2, 1};
};

}  // namespace diffq
