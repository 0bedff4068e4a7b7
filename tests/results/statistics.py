"""Pareto front, hypervolume, interpolation and bootstrap against a second computation with NumPy and SciPy.

Argument: the program that answers tables with what the report's statistics make of them (statistics_tool.cpp).
"""
import json
import math
import subprocess
import sys

import numpy as np
import scipy.stats

RESAMPLES = 2000
LOSS_PERCENTS = [0.5, 1, 2, 5]
ONE_SEED, OUT_OF_REACH = 3, 4


def ask(tables):
    def plain(value):
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        if isinstance(value, (list, tuple, np.ndarray)):
            return [plain(each) for each in value]
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and not math.isfinite(value):
            return None if math.isnan(value) else str(value)
        return value

    lines = "\n".join(json.dumps(plain(table)) for table in tables) + "\n"
    output = subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def same(actual, expected, what):
    """NaN, as null, equals NaN."""
    flat = np.ravel(np.array(actual, dtype=object))
    actual = np.array([math.nan if value is None else value for value in flat], dtype=float)
    np.testing.assert_allclose(actual, np.ravel(np.array(expected, dtype=float)), rtol=1e-9, atol=1e-12, err_msg=str(what))


# --- The second computation of statistics.h: by definition, without sorting tricks ---

def usable(points):
    return [i for i, (size, quality) in enumerate(points) if size > 0 and math.isfinite(size) and math.isfinite(quality)]


def front_of(points):
    def beaten(i):
        size, quality = points[i]
        return any((points[j][0] <= size and points[j][1] > quality) or (points[j][0] < size and points[j][1] >= quality)
                   or (tuple(points[j]) == (size, quality) and j < i) for j in usable(points))

    return sorted((i for i in usable(points) if not beaten(i)), key=lambda i: points[i][0])


def best_within(points, size):
    return max((points[i][1] for i in usable(points) if points[i][0] <= size), default=math.nan)


def hypervolume(points, reference):
    """Sum over the strips between neighbouring sizes of the height of what is reached there."""
    size, quality = reference
    edges = np.unique([points[i][0] for i in usable(points) if points[i][0] < size] + [size])
    heights = [max(best_within(points, edge) - quality, 0) for edge in edges[:-1]]
    return float(np.sum(np.diff(np.log2(edges)) * heights)) if heights else 0.0


def interpolated(points, sizes):
    good = np.array([points[i] for i in usable(points)])
    if len(good) == 0:
        return [math.nan] * len(sizes)
    line = np.unique(good[:, 0])
    means = [good[good[:, 0] == size, 1].mean() for size in line]
    return np.interp(np.log(sizes), np.log(line), means)


def check_points(random):
    tables = []
    for case in range(300):
        count = [0, 1, 2, 3, 10, 40][case % 6]
        points = np.stack([random.uniform(0.1, 4, count), random.normal(90, 3, count)], axis=1)
        if case % 3 == 0:  # ties
            points = np.round(points * [4, 1]) / [4, 1] + [0.25, 0]
        if case % 2 == 0 and count > 2:  # what is not a number, not finite, not a size
            points[random.integers(count), random.integers(2)] = math.nan
            points[random.integers(count), 1] = random.choice([math.inf, -math.inf])
            points[random.integers(count), 0] = random.choice([0.0, -1.0, math.inf])
        values = random.normal(size=[1, 2, 7, 100, 2000][case % 5])
        if case % 11 == 0:
            values[-1] = math.nan
        own_sizes = [size for size in points[:3, 0] if size > 0 and math.isfinite(size)]
        reference = [random.uniform(1, 5), random.normal(88, 3)]
        at = np.concatenate([random.uniform(0.05, 6, 8), own_sizes])
        tables.append({"points": points, "reference": reference, "at": at, "values": values})
    for table, answer in zip(tables, ask(tables)):
        points = [tuple(point) for point in table["points"]]
        assert answer["front"] == front_of(points), (points, answer["front"], front_of(points))
        same(answer["hypervolume"], hypervolume(points, table["reference"]), points)
        same(answer["best_within"], [best_within(points, size) for size in table["at"]], points)
        same(answer["interpolated"], interpolated(points, table["at"]), points)
        same(answer["central_95"], np.quantile(table["values"], [0.025, 0.975]), table["values"])


# --- The second computation of analysis.h ---

SETTINGS = {"fp32": [math.nan], "qat": [2, 3, 4, 8], "lsq": [3, 4], "diffq": [0.01, 0.1, 1, 10, 100]}


def bits_of(method, setting):
    if method == "diffq":
        return 6 / (1 + 0.3 * math.log10(setting * 100 + 1))
    return 32 if method == "fp32" else setting


def made_runs(random, case):
    higher = case % 2 == 0
    scale = 90 if higher else 120
    rows = []
    for method, settings in SETTINGS.items():
        for setting in settings:
            one_seed = case % 5 == 4 or (case % 3 == 1 and setting == 4) or (case % 4 == 2 and setting == 1)
            seeds = 1 if one_seed else 2 + case % 4
            for seed in range(1, seeds + 1):
                bits = bits_of(method, setting)
                size = bits * (1 + (0.02 * random.normal() if method == "diffq" else 0))
                loss = 0 if method == "fp32" else 0.3 * scale * 2 ** -bits + 0.004 * scale * random.normal()
                metric = scale - loss if higher else scale + loss
                if case % 7 == 3 and method == "qat" and seed == 1:
                    metric = math.nan
                rows.append({"method": method, "lambda": float(setting) if method == "diffq" else math.nan,
                             "bits": math.nan if method == "diffq" else float(setting), "seed": seed, "metric": metric,
                             "metric_fp32": math.nan if seed == case % 9 else scale + 0.2 * seed,
                             "size_mb": size, "ratio": 32 / size})
    return {"runs": rows, "higher_is_better": higher}


class Strata:
    """The settings in the report's order, each with its runs as an array: size, quality, loss, ratio."""

    def __init__(self, table):
        self.sign = 1 if table["higher_is_better"] else -1
        keys = []
        for run in table["runs"]:
            key = (run["method"], run["lambda"] if run["method"] == "diffq" else run["bits"])
            if not any(key == other or (key[0] == other[0] == "fp32") for other in keys):
                keys.append(key)
        order = ["fp32", "ptq", "qat", "lsq", "diffq"]
        self.keys = sorted(keys, key=lambda key: (order.index(key[0]), key[1]))
        self.runs = []
        for method, setting in self.keys:
            mine = [run for run in table["runs"] if run["method"] == method and not math.isnan(run["metric"])
                    and (method == "fp32" or setting in (run["lambda"], run["bits"]))]
            self.runs.append(np.array([[run["size_mb"], self.sign * run["metric"],
                                        self.sign * (run["metric_fp32"] - run["metric"]), run["ratio"]] for run in mine]))
        fp32 = [run["metric"] for run in table["runs"] if run["method"] == "fp32"]
        self.fp32 = float(np.mean(fp32))
        self.reference = (32, self.sign * self.fp32 - 0.1 * abs(self.fp32))

    def of(self, method):
        return [i for i, key in enumerate(self.keys) if key[0] == method]

    def means(self):
        return [self.mean(runs) for runs in self.runs]

    @staticmethod
    def mean(runs):
        """The loss over the runs whose fp32 run is known."""
        if len(runs) == 0:
            return np.full(4, math.nan)
        means, losses = runs.mean(axis=0), runs[~np.isnan(runs[:, 2]), 2]
        means[2] = losses.mean() if len(losses) else math.nan
        return means

    def resampled_means(self):
        """Mersenne Twister with seed 1; setting after setting, (bits · n) >> 32."""
        counts = np.concatenate([[len(runs)] * len(runs) for runs in self.runs]).astype(np.uint64)
        raw = np.random.RandomState(1).randint(0, 2**32, size=(RESAMPLES, len(counts)), dtype=np.uint32)
        drawn = (raw.astype(np.uint64) * counts) >> np.uint64(32)
        for indices in drawn.astype(int):
            starts = np.cumsum([0] + [len(runs) for runs in self.runs])
            yield [self.mean(runs[indices[start:start + len(runs)]]) if len(runs) else self.mean(runs)
                   for runs, start in zip(self.runs, starts)]


def most_compressed(means, rows, loss):
    within = [row for row in rows if means[row][2] <= loss]
    return max(within, key=lambda row: means[row][3]) if within else None


def central(values):
    return np.quantile(values, [0.025, 0.975])


def check_analysis(random):
    tables = [made_runs(random, case) for case in range(21)]
    for table, answer in zip(tables, ask(tables)):
        strata = Strata(table)
        means = strata.means()
        replicates = list(strata.resampled_means())
        seeds = [len(runs) for runs in strata.runs]

        def points(of, rows):
            return [tuple(of[row][:2]) for row in rows]

        for method in ("qat", "lsq", "diffq"):
            rows = strata.of(method)
            front = [rows[i] for i in front_of(points(means, rows))]
            mine = answer["fronts"][method]
            assert mine["rows"] == front
            same(mine["hypervolume"], hypervolume(points(means, rows), strata.reference), method)
            known = bool(front) and all(seeds[row] >= 2 for row in front)
            volumes = [hypervolume(points(of, rows), strata.reference) for of in replicates] if known else [math.nan]
            same(mine["interval"], central(volumes), method)
            assert known or not mine["band"]
            for size, low, high in mine["band"][::17]:
                bests = [best_within(points(of, rows), size) for of in replicates]
                same([low, high], sorted(strata.sign * central(bests)), (method, size))
            for percent in LOSS_PERCENTS:
                limit = percent / 100 * abs(strata.fp32)
                each = next(c for c in answer["compressions"] if (c["method"], c["loss_percent"]) == (method, percent))
                row = most_compressed(means, rows, limit)
                assert each["row"] == row, (each, row)
                if row is None:
                    continue
                same([each["ratio"], each["difference"]], [means[row][3], -strata.sign * means[row][2]], each)
                chosen = [most_compressed(of, rows, limit) for of in replicates]
                ratios = [of[r][3] if r is not None else 1 for of, r in zip(replicates, chosen)]
                same(each["interval"], central(ratios) if seeds[row] >= 2 else [math.nan] * 2, each)
        check_equal_sizes(answer, strata, means, replicates, seeds)


def check_equal_sizes(answer, strata, means, replicates, seeds):
    family = strata.of("diffq")
    sizes = [means[row][0] for row in family]
    baselines = [row for row in strata.of("qat") + strata.of("lsq") if seeds[row] > 0]
    assert [each["row"] for each in answer["equal_sizes"]] == baselines
    for each in answer["equal_sizes"]:
        row = each["row"]

        def difference(of):
            return interpolated([tuple(of[r][:2]) for r in family], [of[row][0]])[0] - of[row][1]

        size = means[row][0]
        if not min(sizes) <= size <= max(sizes):
            assert each["verdict"] == OUT_OF_REACH and each["difference"] is None and each["seeds"] == 0
            continue
        left = max((s, r) for s, r in zip(sizes, family) if s <= size)[1]
        right = min((s, r) for s, r in zip(sizes, family) if s >= size)[1]
        assert each["seeds"] == min(seeds[left], seeds[right])
        same(each["difference"], strata.sign * difference(means), each)
        if min(seeds[left], seeds[right], seeds[row]) < 2:
            assert each["verdict"] == ONE_SEED and each["interval"] == [None, None]
            continue
        low, high = central([difference(of) for of in replicates])
        same(each["interval"], sorted([strata.sign * low, strata.sign * high]), each)
        assert each["verdict"] == (0 if low > 0 else 1 if high < 0 else 2)


def check_against_scipy(random):
    """At DiffQ's own size the interpolation is its mean, and the interval is SciPy's of a difference of means."""
    ours, theirs = random.normal(90, 1, 8), random.normal(89.5, 1, 8)
    runs = [{"method": method, "lambda": lambda_, "bits": bits, "seed": seed + 1, "metric": metric, "metric_fp32": 91.0,
             "size_mb": 4.0, "ratio": 8.0}
            for method, lambda_, bits, metrics in (("diffq", 1.0, math.nan, ours), ("qat", math.nan, 4.0, theirs))
            for seed, metric in enumerate(metrics)]
    answer = ask([{"runs": runs, "higher_is_better": True}])[0]["equal_sizes"][0]
    scipys = scipy.stats.bootstrap((ours, theirs), lambda a, b, axis: a.mean(axis) - b.mean(axis), method="percentile",
                                   n_resamples=20000, rng=random).confidence_interval
    width = scipys.high - scipys.low
    np.testing.assert_allclose(answer["interval"], [scipys.low, scipys.high], rtol=0, atol=0.06 * width)


def check_what_the_report_says_of_few_seeds(random):
    """The interval of a mean holds the truth in half of all cases with two seeds, in three quarters with three."""
    for seeds, expected in ((2, 0.5), (3, 0.75)):
        draws = random.integers(seeds, size=(RESAMPLES, seeds))
        held = 0
        for values in random.normal(size=(2000, seeds)):
            low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
            held += low <= 0 <= high
        assert abs(held / 2000 - expected) < 0.04, (seeds, held / 2000)


def main():
    random = np.random.default_rng(11)
    check_points(random)
    check_analysis(random)
    check_against_scipy(random)
    check_what_the_report_says_of_few_seeds(random)
    print("statistics: as NumPy and SciPy have them")


main()
