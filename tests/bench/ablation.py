"""The tables of docs/ablation.md from the results of sweeps/ablation.json: at each size, by how much the metric of each
setting is better than that of published DiffQ, and than that of the strong preset, of the same seed, with a 95 % interval
(Student's t over seeds); and how near targets are met, beside published DiffQ at a λ, between whose sizes the metric is a
straight line over log size.

usage: ablation.py DIR…
Needs `mpirun -n 2 build/diffq run sweeps/ablation.json --out DIR`, as often as it takes; tells of the runs that are done.
Several folders are parts of it (--only, --shard), whose runs are taken together.
"""
import collections
import json
import math
import sys

import h5py
import numpy as np
from scipy import stats

BITS = (2, 3, 4)
STRONG = "noise matched, clip mse, frozen 0.3"


def setting_of(config):
    """What tells a run from published DiffQ."""
    method = config["method"]
    if method["method"] != "diffq":
        return method["method"]
    options = [f"{key} {method[key]}" for key in ("clip", "range", "frozen") if key in method]
    if method["min_bits"] != 2:
        options.append(f"min_bits {method['min_bits']:g}")
    if method["noise"] != "gaussian":
        options.insert(0, f"noise {method['noise']}")
    if "recalibrate_batchnorm" in config["eval"]:
        options.append("BatchNorm measured anew")
    name = ", ".join(options) or "published"
    return "strong" if name == STRONG else name


def read_rows(folders):
    """Runs that are done, each once."""
    rows = {}
    for folder in folders:
        with h5py.File(f"{folder}/results.h5", "r") as file:
            rows.update({row["run_id"]: row for row in file["runs"][:] if row["status"] == b"done"})
    return list(rows.values())


def read(rows):
    """benchmark -> (bits of the size, setting) -> seed -> metric, higher is better; and the sizes."""
    configs = [json.loads(row["config_json"]) for row in rows]
    metrics = collections.defaultdict(lambda: collections.defaultdict(dict))
    sizes = collections.defaultdict(lambda: collections.defaultdict(list))
    for benchmark in {row["benchmark"] for row in rows}:
        targets = sorted({config["method"]["target_mb"] for row, config in zip(rows, configs)
                          if row["benchmark"] == benchmark and "target_mb" in config["method"]})
        for row, config in zip(rows, configs):
            method = config["method"]
            if row["benchmark"] != benchmark or method["method"] == "fp32" or "lambda" in method:
                continue
            bits = method.get("bits") or BITS[targets.index(method["target_mb"])]
            key = bits, setting_of(config)
            metrics[benchmark.decode()][key][int(row["seed"])] = row["metric"] * (1 if row["higher_is_better"] else -1)
            sizes[benchmark.decode()][key].append(row["size_mb"])
    return metrics, sizes


def difference(ours, theirs):
    """Mean of ours − theirs over the seeds that both have, and half the width of its interval."""
    seeds = sorted(ours.keys() & theirs.keys())
    values = np.array([ours[seed] - theirs[seed] for seed in seeds])
    if len(values) < 2:
        return (values.mean() if len(values) else math.nan), math.nan
    return values.mean(), stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))


def better_than(ours, theirs, same):
    mean, half = difference(ours, theirs)
    return "–" if same or math.isnan(mean) else f"{mean:+.3f} ± {half:.3f}"


def read_lambdas(rows):
    """benchmark -> seed -> (log size, metric, higher is better) of the runs at a λ, by size; and metrics of fp32."""
    points, fp32 = collections.defaultdict(lambda: collections.defaultdict(list)), collections.defaultdict(dict)
    for row in rows:
        method = json.loads(row["config_json"])["method"]
        metric = row["metric"] * (1 if row["higher_is_better"] else -1)
        benchmark, seed = row["benchmark"].decode(), int(row["seed"])
        if "lambda" in method:
            points[benchmark][seed].append((math.log(row["size_mb"]), metric))
        if method["method"] == "fp32":
            fp32[benchmark][seed] = metric
    return points, fp32


def show_targets(benchmark, metrics, sizes, points):
    """Published DiffQ with a target beside that with a λ, at the target's size."""
    print("\n| target's size MB, from, to | seeds | metric | of a λ run of equal size | target better by |")
    print("|--:|--:|--:|--:|--:|")
    for (bits, setting), values in sorted(metrics.items()):
        if setting != "published":
            continue
        at_lambda = {}
        for seed, pairs in points.items():
            xs, ys = zip(*sorted(pairs))
            size = math.log(np.mean(sizes[bits, setting]))
            if xs[0] <= size <= xs[-1]:
                at_lambda[seed] = np.interp(size, xs, ys)
        mean, half = difference(values, at_lambda)
        theirs = abs(np.mean(list(at_lambda.values()))) if at_lambda else math.nan
        least, most = min(sizes[bits, setting]), max(sizes[bits, setting])
        print(f"| {least:.5f}, {most:.5f} | {len(values.keys() & at_lambda.keys())} "
              f"| {abs(np.mean(list(values.values()))):.3f} | {theirs:.3f} | {mean:+.3f} ± {half:.3f} |")


def main():
    rows = read_rows(sys.argv[1:])
    metrics, sizes = read(rows)
    points, fp32 = read_lambdas(rows)
    for benchmark in sorted(metrics):
        print(f"\n## {benchmark}\n")
        print("| bits | setting | seeds | size MB | metric | better than published by | than strong by |")
        print("|--:|:--|--:|--:|--:|--:|--:|")
        for (bits, setting), values in sorted(metrics[benchmark].items()):
            better = " | ".join(better_than(values, metrics[benchmark].get((bits, other), {}), setting == other)
                                for other in ("published", "strong"))
            print(f"| {bits} | {setting} | {len(values)} | {np.mean(sizes[benchmark][bits, setting]):.4f} "
                  f"| {abs(np.mean(list(values.values()))):.3f} | {better} |")
        if fp32[benchmark]:
            print(f"\nfp32: {abs(np.mean(list(fp32[benchmark].values()))):.3f}, {len(fp32[benchmark])} seeds")
        show_targets(benchmark, metrics[benchmark], sizes[benchmark], points[benchmark])


if __name__ == "__main__":
    main()
