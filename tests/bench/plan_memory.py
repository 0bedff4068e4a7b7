"""Memory a rank that `diffq plan` tells of a sweep file, against what a few steps of each method take.

usage: plan_memory.py SWEEP.json [--steps 4] [--set data.root=FOLDER]…
Each benchmark of the file is made small: one seed, one rank a run with its share of the batch, one epoch of so many
steps, few samples to measure with. `--set` is for every benchmark. Exits with 1 where plan is off by more than a tenth.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import h5py

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIFFQ = str(ROOT / "build/diffq")
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(done.stderr + done.stdout[-2000:])
    return done.stdout


def put(spec, path, value):
    *groups, last = path.split(".")
    for group in groups:
        spec = spec.setdefault(group, {})
    spec[last] = value


def shortened(sweep, steps, changes):
    """One benchmark, for one rank and so many steps; its first setting of every method."""
    ranks = sweep.pop("ranks_per_run", 1)
    benchmark, = sweep["benchmarks"]
    sweep["seeds"] = [1]
    train, data = benchmark["train"], benchmark["data"]
    batch = train["batch_size"] // ranks
    train |= {"batch_size": batch, "epochs": 1, "schedule": {"name": "constant"}}
    word = "segments" if "segment_seconds" in data else "samples"
    data[f"train_{word}"] = steps * batch
    text = benchmark["model"]["name"] == "transformer_lm"
    if not text:
        data[f"valid_{word}"] = 2 * batch
    if word == "samples" and not text:
        data["test_samples"] = 2 * benchmark.get("eval", {}).get("batch_size", 500)
    for path, value in changes:
        put(benchmark, path, value)
    methods = {}
    for method in benchmark["methods"]:
        method = {key: value[0] if isinstance(value, list) else value for key, value in method.items()}
        method.pop("start", None)
        method.get("train", {}).pop("epochs", None)
        methods.setdefault(method["method"], method)
    methods.pop("ptq", None)  # trains nothing
    benchmark["methods"] = list(methods.values())
    return sweep


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sweep")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    changes = [(path, json.loads(value) if re.match(r"[-\d\[{\"tf]", value) else value)
               for path, value in (change.split("=", 1) for change in args.set)]
    text = re.sub(r"^\s*//.*$", "", (ROOT / args.sweep).read_text(), flags=re.M)
    worst = 0
    for benchmark in json.loads(text)["benchmarks"]:
        sweep = shortened(json.loads(text) | {"benchmarks": [benchmark]}, args.steps, changes)
        with tempfile.TemporaryDirectory() as folder:
            file, out = f"{folder}/s.json", f"{folder}/out"
            pathlib.Path(file).write_text(json.dumps(sweep))
            told = {line.split()[0]: float(line.split()[-1]) for line in call(DIFFQ, "plan", file).splitlines()
                    if re.match(r"[0-9a-f]{12} .* [\d.]+$", line.rstrip())}
            call("mpirun", "-q", "-n", "1", "--oversubscribe", "--bind-to", "none",
                 DIFFQ, "run", file, "--out", out, "--quiet")
            with h5py.File(f"{out}/results.h5") as results:
                for row in results["runs"][:]:
                    planned, taken = told.get(row["run_id"].decode()), row["peak_memory_mb"]
                    if planned is None:
                        sys.exit(f"{args.sweep}: plan tells no memory")
                    off = planned / taken - 1
                    worst = max(worst, abs(off))
                    print(f"{args.sweep} {row['dataset'].decode()} {row['model'].decode()} {row['method'].decode()}: told "
                          f"{planned:.0f} MB, taken {taken:.0f} MB, {off:+.1%}", flush=True)
    sys.exit(1 if worst > 0.1 else 0)  # worst is NumPy's, and so would be the bool


if __name__ == "__main__":
    main()
