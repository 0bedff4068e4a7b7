#include "datasets/dataset.h"

#include <array>
#include <utility>

#include "datasets/cifar.h"
#include "datasets/fail.h"
#include "datasets/idx_set.h"
#include "datasets/imagenet.h"
#include "datasets/music.h"
#include "datasets/text.h"

namespace diffq {
namespace {

constexpr ImageFormat kIdx{idx_set_fingerprint, read_idx_set}, kCifar{cifar_fingerprint, read_cifar};

constexpr std::array<std::pair<DataName, DataFormat>, 10> kFormats{
    {{DataName::mnist, kInMemory<kIdx>},
     {DataName::idx, kInMemory<kIdx>},
     {DataName::cifar10, kInMemory<kCifar>},
     {DataName::cifar100, kInMemory<kCifar>},
     {DataName::imagenet, {check_imagenet, open_imagenet, imagenet_fingerprint}},
     {DataName::wikitext103, kText},
     {DataName::text, kText},
     {DataName::musdb, kMusic},
     {DataName::stems, kMusic},
     {DataName::openmsx_synthesised, kMusic}}};

const DataFormat& format_of(DataName name) {
  for (const auto& [known, format] : kFormats) {
    if (known == name) return format;
  }
  fail("data.name", "unknown");
}

}  // namespace

DataSummary check_data(const DataSpec& spec) { return format_of(spec.name).check(spec); }

DataSplits open_data(const DataSpec& spec) { return format_of(spec.name).open(spec); }

std::string fingerprint(const DataSpec& spec) { return format_of(spec.name).fingerprint(spec); }

}  // namespace diffq
