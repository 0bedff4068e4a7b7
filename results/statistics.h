#pragma once
// The statistics of the report, on plain numbers: Pareto front, hypervolume, interpolation over log size, and
// the draws of the bootstrap. Quality is larger for better: callers turn metrics around of which less is
// better. tests/results/statistics.py holds each against NumPy and SciPy.

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace diffq {

struct Point {
  double size = std::numeric_limits<double>::quiet_NaN();  ///< any unit, > 0
  double quality = std::numeric_limits<double>::quiet_NaN();
};

/// Points with a size that is a number above 0 and a finite quality; the functions below ignore the others.
bool is_usable(const Point& point);

/// Indices of the points that no other one beats, by growing size: no other is at most as large and better,
/// or smaller and as good. Of equal points the first.
std::vector<size_t> pareto_front(const std::vector<Point>& points);

/// The best quality of the points that are at most of this size; NaN where there is none.
double best_within(const std::vector<Point>& points, double size);

/// The area that the points dominate, over log2(size), above the reference's quality and below its size: each
/// doubling of compression counts its quality's height. 0 if none is better and smaller than the reference.
double hypervolume(const std::vector<Point>& points, const Point& reference);

/// The usable points by growing size, those of equal size as their mean.
std::vector<Point> line_through(std::vector<Point> points);
/// Quality at `size` on such a line, straight between points over log size; beyond an end, that end's; NaN on
/// no points.
double interpolate(const std::vector<Point>& line, double size);

/// As numpy.quantile: linear between order statistics. NaN if there is no value or a NaN among them.
double quantile(std::vector<double> values, double q);

struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  bool is_known() const { return !std::isnan(low) && !std::isnan(high); }
};
/// From the 2.5 % to the 97.5 % quantile.
Interval central_95(const std::vector<double>& values);

/// Draws with replacement, the same ones each time: std::mt19937 seeded with 1.
class Resampler {
 public:
  /// An index below n; of the generator's 32 bits, (bits · n) >> 32.
  size_t draw(size_t n) { return static_cast<size_t>((static_cast<uint64_t>(generator_()) * n) >> 32); }

 private:
  std::mt19937 generator_{1};
};

}  // namespace diffq
