#include "results/statistics.h"

#include <algorithm>
#include <numeric>

namespace diffq {

bool is_usable(const Point& point) {
  return point.size > 0 && std::isfinite(point.size) && std::isfinite(point.quality);
}

std::vector<size_t> pareto_front(const std::vector<Point>& points) {
  std::vector<size_t> order;
  for (size_t i = 0; i < points.size(); ++i) {
    if (is_usable(points[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return points[a].size != points[b].size ? points[a].size < points[b].size
                                            : points[a].quality > points[b].quality;
  });
  std::vector<size_t> front;
  for (const size_t i : order) {
    if (front.empty() || points[i].quality > points[front.back()].quality) front.push_back(i);
  }
  return front;
}

double best_within(const std::vector<Point>& points, double size) {
  double best = std::numeric_limits<double>::quiet_NaN();
  for (const Point& point : points) {
    if (is_usable(point) && point.size <= size && !(best >= point.quality)) best = point.quality;
  }
  return best;
}

double hypervolume(const std::vector<Point>& points, const Point& reference) {
  double area = 0, reached = reference.quality;
  for (const size_t i : pareto_front(points)) {
    const Point& point = points[i];
    if (point.size >= reference.size) break;
    if (point.quality <= reached) continue;
    area += (point.quality - reached) * std::log2(reference.size / point.size);
    reached = point.quality;
  }
  return area;
}

std::vector<Point> line_through(std::vector<Point> points) {
  std::erase_if(points, [](const Point& point) { return !is_usable(point); });
  std::stable_sort(points.begin(), points.end(),
                   [](const Point& a, const Point& b) { return a.size < b.size; });
  std::vector<Point> line;
  for (size_t first = 0; first < points.size();) {
    size_t end = first;
    double sum = 0;
    while (end < points.size() && points[end].size == points[first].size) sum += points[end++].quality;
    line.push_back({points[first].size, sum / static_cast<double>(end - first)});
    first = end;
  }
  return line;
}

double interpolate(const std::vector<Point>& line, double size) {
  if (line.empty() || std::isnan(size)) return std::numeric_limits<double>::quiet_NaN();
  const auto right =
      std::lower_bound(line.begin(), line.end(), size, [](const Point& p, double s) { return p.size < s; });
  if (right == line.begin()) return line.front().quality;
  if (right == line.end()) return line.back().quality;
  const Point& a = *(right - 1);
  const double part = std::log(size / a.size) / std::log(right->size / a.size);
  return a.quality + part * (right->quality - a.quality);
}

double quantile(std::vector<double> values, double q) {
  const auto is_nan = [](double value) { return std::isnan(value); };
  if (values.empty() || std::any_of(values.begin(), values.end(), is_nan)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  const double low = *at;
  if (below + 1 == values.size()) return low;
  const double high = *std::min_element(at + 1, values.end());
  const double part = place - static_cast<double>(below);
  return part == 0 || low == high ? low : low + part * (high - low);
}

Interval central_95(const std::vector<double>& values) {
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

}  // namespace diffq
