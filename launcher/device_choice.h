#pragma once
// --device: where the ranks of a sweep train.

#include <c10/core/Device.h>

#include <array>
#include <string_view>
#include <utility>

namespace diffq {

/// automatic: the GPU where there is one for this rank, else the CPU.
enum class DeviceChoice { automatic, cpu, cuda };
inline constexpr std::array<std::pair<std::string_view, DeviceChoice>, 3> kDeviceChoiceNames{
    {{"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}}};

/// This rank's device. `local_ranks`: on this host; `ranks_per_run`: of the sweep. Throws
/// std::invalid_argument where a GPU is asked for and can't be had.
at::Device choose_device(DeviceChoice choice, int gpus, int local_ranks, int ranks_per_run);
/// GPUs that this process sees; 0 in a program built without CUDA.
int visible_gpus();

}  // namespace diffq
