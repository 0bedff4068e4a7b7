#pragma once
// --device: where a sweep trains, and where a model is evaluated.

#include <array>
#include <string_view>
#include <utility>

namespace diffq {

/// automatic: a GPU (for each rank) where there are any, else the CPU.
enum class DeviceChoice { automatic, cpu, cuda };
inline constexpr std::array<std::pair<std::string_view, DeviceChoice>, 3> kDeviceChoiceNames{
    {{"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}}};

}  // namespace diffq
