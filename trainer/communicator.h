#pragma once
// The ranks that train one run together, seen from one of them. Implemented by MPI and NCCL in launcher/, and
// by threads in tests/support. Every call is collective: all ranks of the group make the same calls in the
// same order.

#include <ATen/core/Tensor.h>

#include <span>
#include <stdexcept>
#include <string>

namespace diffq {

/// The group has agreed that this run can't go on; the same reason on every rank.
struct RunFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The group has agreed to leave this run for now; what it needs to go on is in its checkpoint.
struct RunStopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The reason that an exception gives, in one line.
std::string reason_of(const std::exception& error);

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Starts summing `bucket` (float32, contiguous) over the group in place and returns at once. The memory
  /// must stay untouched until wait().
  virtual void start_sum(const at::Tensor& bucket) = 0;
  /// Returns when all started sums are complete.
  virtual void wait() = 0;
  /// What these sums are to be divided by for means: 1 where they are means already (NCCL divides as it
  /// sums).
  virtual double divisor() const { return size(); }

  /// Overwrites `tensor` (contiguous) with rank 0's.
  virtual void broadcast(const at::Tensor& tensor) = 0;
  /// Sums over the group, in place, in double: counts and metric sums.
  virtual void sum(std::span<double> values) = 0;
  /// Throws if the group is lost, whose sums may have been anything since. What was copied from the device
  /// before a call that returns came of whole sums: ask between copying what is to last and writing it. The
  /// only call that is not collective.
  virtual void check() {}
  /// Ends a phase that may have failed on some ranks: `failure` is this rank's reason, or empty. Throws
  /// RunFailure with the reason of the lowest failing rank on every rank if there is one.
  void agree(const std::string& failure);

 protected:
  /// The failure of the lowest rank that has one, on all ranks; empty when none has.
  virtual std::string first_failure(const std::string& mine) = 0;
};

/// A group of one rank.
class SoloCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void start_sum(const at::Tensor&) override {}
  void wait() override {}
  void broadcast(const at::Tensor&) override {}
  void sum(std::span<double>) override {}

 protected:
  std::string first_failure(const std::string& mine) override { return mine; }
};

}  // namespace diffq
