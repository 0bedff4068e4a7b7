#pragma once
// The kernels of update_kernels.h. Included once by each of the files that launch them.

#include "quant/device_launch.h"
#include "trainer/update_kernels.h"

namespace diffq {
namespace {

struct BeginUpdate {
  UpdateTable table;
  double lr, own_lr;

  struct Shared {};
  DIFFQ_INLINE void operator()(const Block& block, int64_t, Shared&) const {
    block.threads([&](int thread) {
      if (thread != 0) return;
      table.state->lr = lr;
      table.state->own_lr = own_lr;
    });
  }
};

/// Of a chunk: Σ gradient²; of own parameters' gradients 0, or NaN where one is not finite.
struct MeasureGradient {
  UpdateTable table;

  struct Shared {
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch chunk = table.chunks[index];
    const float* gradient = table.ranges[chunk.segment].gradient + chunk.begin;
    const bool of_weights = index < table.weight_chunks;
    block.threads([&](int thread) {
      double sum = 0;
      for (int first = thread; first < chunk.count; first += kPassEntries) {
        DIFFQ_UNROLL
        for (int k = 0; k < 8; ++k) {
          const int i = first + k * kBlockThreads;
          const double g = i < chunk.count ? static_cast<double>(gradient[i]) : 0.0;
          sum += g * (of_weights ? g : 0.0);
        }
      }
      shared.sums[thread] = sum;
    });
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0) table.sums[index] = shared.sums[0];
    });
  }
};

struct Judge {
  UpdateTable table;

  struct Shared {
    double weights[kBlockThreads], own[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t, Shared& shared) const {
    block.threads([&](int thread) {
      double weights = 0, own = 0;
      for (int k = thread; k < table.weight_chunks; k += kBlockThreads) weights += table.sums[k];
      for (int k = thread; k < table.own_chunks; k += kBlockThreads)
        own += table.sums[table.weight_chunks + k];
      shared.weights[thread] = weights;
      shared.own[thread] = own;
    });
    join_threads(block, shared.weights, Add{});
    join_threads(block, shared.own, Add{});
    block.threads([&](int thread) {
      if (thread == 0) decide(shared.weights[0], shared.own[0]);
    });
  }

  DIFFQ_INLINE void decide(double squares, double own) const {
    UpdateState& state = *table.state;
    UpdateReport& report = state.report;
    const double norm = sqrt(squares) / table.divisor;
    report.gradient_norm = norm;
    report.loss = table.tail[0];
    report.nonfinite = table.tail[1];
    report.failed = table.tail[2];
    report.stop = table.tail[3];
    report.skip = Skip::none;
    if (own != 0) report.skip = Skip::own_gradient;  // it is 0 or NaN
    if (norm - norm != 0) report.skip = Skip::norm;
    if (report.nonfinite > 0) report.skip = Skip::loss;
    if (report.failed > 0) report.skip = Skip::failure;
    if (report.skip != Skip::none) return;
    const double mean = 1 / table.divisor, within = table.max_norm / (norm + 1e-6);
    const double clip = table.max_norm > 0 && within < 1 ? within : 1;
    state.weights_rule = make_rule(table.weights, state.lr, mean * clip, ++report.weights_steps);
    state.own_rule = make_rule(table.own, state.own_lr, 1, ++report.own_steps);
  }
};

/// Chunks from `first` on: an optimiser's step.
struct Update {
  UpdateTable table;
  OptimizerLaw law;
  Moments moments;
  const OptimizerRule* rule_at;
  int32_t first;

  static constexpr int kAtOnce = 4;  // entries of a thread whose loads are under way together
  struct Shared {};
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    if (table.state->report.skip != Skip::none) return;
    const Stretch chunk = table.chunks[first + index];
    const UpdateRange range = table.ranges[chunk.segment];
    const OptimizerRule rule = *rule_at;
    const int64_t offset = range.state_offset + chunk.begin;
    const bool has_first = moments.first != nullptr, has_second = moments.second != nullptr;
    float* values = range.values + chunk.begin;
    float* firsts = has_first ? moments.first + offset : nullptr;
    float* seconds = has_second ? moments.second + offset : nullptr;
    block.threads([&](int thread) {
      for (int i = thread; i < chunk.count; i += kAtOnce * kBlockThreads) {
        float value[kAtOnce], gradient[kAtOnce], a[kAtOnce], b[kAtOnce];
        DIFFQ_UNROLL
        for (int k = 0; k < kAtOnce; ++k) {
          const int j = i + k * kBlockThreads;
          const bool there = j < chunk.count;
          value[k] = there ? values[j] : 0;
          gradient[k] = there ? range.gradient[chunk.begin + j] : 0;
          a[k] = there && has_first ? firsts[j] : 0;
          b[k] = there && has_second ? seconds[j] : 0;
        }
        DIFFQ_UNROLL
        for (int k = 0; k < kAtOnce; ++k) {
          const int j = i + k * kBlockThreads;
          if (j >= chunk.count) continue;
          if (law.adam) {
            rule.adam(value[k], gradient[k], a[k], b[k]);
          } else if (has_first) {
            rule.sgd(value[k], gradient[k], a[k]);
          } else {
            rule.sgd(value[k], gradient[k]);
          }
          values[j] = value[k];
          if (has_first) firsts[j] = a[k];
          if (has_second) seconds[j] = b[k];
        }
      }
    });
  }
};

/// Of a skipped step.
struct RestoreBuffers {
  UpdateTable table;

  struct Shared {};
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    if (table.state->report.skip == Skip::none) return;
    const Stretch chunk = table.chunks[table.weight_chunks + table.own_chunks + index];
    const UpdateRange range = table.ranges[chunk.segment];
    block.threads([&](int thread) {
      for (int i = thread; i < chunk.count; i += kBlockThreads)
        range.values[chunk.begin + i] = range.gradient[chunk.begin + i];
    });
  }
};

void judge(const UpdateTable& table, Stream stream) {
  launch(MeasureGradient{table}, table.weight_chunks + table.own_chunks, stream);
  launch(Judge{table}, 1, stream);
}

void update(const UpdateTable& table, Stream stream) {
  launch(Update{table, table.weights, table.weight_moments, &table.state->weights_rule, 0},
         table.weight_chunks, stream);
  launch(Update{table, table.own, table.own_moments, &table.state->own_rule, table.weight_chunks},
         table.own_chunks, stream);
  launch(RestoreBuffers{table}, table.buffer_chunks, stream);
}

const UpdateKernels kUpdateKernels{
    [](const UpdateTable& table, double lr, double own_lr, Stream stream) {
      launch(BeginUpdate{table, lr, own_lr}, 1, stream);
    },
    judge,
    update,
};

}  // namespace
}  // namespace diffq
