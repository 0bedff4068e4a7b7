#include "trainer/rank_check.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "quant/quantizer.h"

namespace diffq {
namespace {

constexpr int64_t kPiece = 1 << 20;

// Odd, so that no difference of a single entry (below 2^32) comes to 0 modulo 2^64.
int64_t factor(uint64_t index) { return static_cast<int64_t>(mix_seed(0x9e3779b97f4a7c15, index) | 1); }

// Of all ranks, in order of rank: numbers go through a sum of doubles in halves, each rank's in places of its
// own.
std::vector<std::vector<uint64_t>> gather(const std::vector<uint64_t>& mine, Communicator& communicator) {
  const size_t count = mine.size(), ranks = static_cast<size_t>(communicator.size());
  std::vector<double> halves(2 * count * ranks);
  double* own = halves.data() + 2 * count * static_cast<size_t>(communicator.rank());
  for (size_t i = 0; i < count; ++i) {
    own[2 * i] = static_cast<double>(mine[i] >> 32);
    own[2 * i + 1] = static_cast<double>(mine[i] & 0xffffffff);
  }
  communicator.sum(halves);
  std::vector<std::vector<uint64_t>> all(ranks, std::vector<uint64_t>(count));
  for (size_t i = 0; i < count * ranks; ++i) {
    all[i / count][i % count] =
        static_cast<uint64_t>(halves[2 * i]) << 32 | static_cast<uint64_t>(halves[2 * i + 1]);
  }
  return all;
}

bool all_equal(const std::vector<std::vector<uint64_t>>& all, size_t i) {
  return std::ranges::all_of(all, [&](const auto& other) { return other[i] == all[0][i]; });
}

/// "rank 2", where most ranks agree; "ranks 0 and 1" where there is no majority.
std::string who_differs(const std::vector<std::vector<uint64_t>>& all, size_t i) {
  std::map<uint64_t, size_t> votes;
  for (const auto& hashes : all) ++votes[hashes[i]];
  const auto most = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  const bool majority = 2 * most->second > all.size();
  std::vector<std::string> ranks;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (!majority || all[rank][i] != most->first) ranks.push_back(std::to_string(rank));
  }
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t k = 0; k < ranks.size(); ++k)
    text += (k == 0 ? "" : k + 1 == ranks.size() ? " and " : ", ") + ranks[k];
  return text;
}

}  // namespace

RankCheck::RankCheck(const ParameterStore& store) {
  for (const ParameterEntry& entry : store.entries()) {
    tensors_.push_back({entry.name, store.master_of(entry)});
    if (entry.own_count > 0) tensors_.push_back({"the bits or scale of " + entry.name, store.own_of(entry)});
  }
  for (const auto& [name, buffer] : store.buffers()) tensors_.push_back({name, buffer});
  std::vector<int64_t> factors;
  int64_t longest = 1;
  for (const Named& named : tensors_) longest = std::max(longest, named.tensor.numel());
  for (int64_t i = 0; i < std::min(longest, kPiece); ++i) factors.push_back(factor(static_cast<uint64_t>(i)));
  factors_ = at::tensor(factors, at::kLong).to(store.master().device());
}

/// int64 [1] on the device: a sum of products modulo 2^64, the same in any order.
at::Tensor RankCheck::hash_of(const at::Tensor& tensor) const {
  const at::Tensor bits = tensor.reshape({-1}).view(at::kInt);
  at::Tensor hash = at::zeros({1}, factors_.options());
  for (int64_t begin = 0, piece = 0; begin < bits.numel(); begin += kPiece, ++piece) {
    const int64_t count = std::min(kPiece, bits.numel() - begin);
    const at::Tensor sum = (bits.narrow(0, begin, count) * factors_.narrow(0, 0, count)).sum();
    hash.add_(sum * factor(static_cast<uint64_t>(kPiece + piece)));
  }
  return hash;
}

std::vector<uint64_t> RankCheck::hashes() const {
  torch::NoGradGuard no_grad;
  std::vector<at::Tensor> hashes{at::zeros({1}, factors_.options())};  // all of nothing is one too
  for (const Named& named : tensors_) hashes.push_back(hash_of(named.tensor));
  const at::Tensor all = at::cat(hashes).cpu();
  const int64_t* values = all.const_data_ptr<int64_t>();
  return {values + 1, values + all.numel()};
}

void RankCheck::compare(const std::vector<uint64_t>& hashes, Communicator& communicator) const {
  uint64_t whole = 0;
  for (const uint64_t hash : hashes) whole = mix_seed(whole, hash);
  if (all_equal(gather({whole}, communicator), 0)) return;
  const auto all = gather(hashes, communicator);
  std::string text;
  int64_t further = -1;
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (all_equal(all, i)) continue;
    if (text.empty()) text = who_differs(all, i) + ": " + tensors_[i].name;
    ++further;
  }
  if (further > 0)
    text += " and " + std::to_string(further) + (further == 1 ? " further tensor" : " further tensors");
  throw RunFailure("the ranks no longer have the same weights: " + text);
}

}  // namespace diffq
