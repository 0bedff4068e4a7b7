"""What DiffQ adds to a step, and how well two ranks scale, each against a peer, alternating in one run.

usage: compare_steps.py [--rounds 5] [--steps 24]
Needs `cmake --build build --target benches` and the peers (docs/performance.md says how to install them).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "tests/bench/peers"
BENCH = str(ROOT / "build/tests/bench/step_bench")
PYTHON = str(ROOT / ".venv-peers/bin/python")
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def run(*command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(ENVIRONMENT, **environment), timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def mpirun(ranks, *command, **environment):
    return run("mpirun", "-q", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", BENCH, *command, **environment)


def median_of(result, name):
    return statistics.median(result["ms"][name])


def added(result, name):
    """What `name` adds to the fp32 step just before it."""
    return statistics.median(b - a for a, b in zip(result["ms"]["fp32"], result["ms"][name]))


def show(title, values, unit=""):
    print(f"{title}: median {statistics.median(values):.3f}{unit}, from {min(values):.3f} to {max(values):.3f}, {len(values)} rounds")


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--steps", type=int, default=24)
args = parser.parse_args()
steps = ["--steps", str(args.steps)]

ours, avx2, theirs, ratios, avx2_ratios, our_efficiency, their_efficiency = [], [], [], [], [], [], []
for _ in range(args.rounds):
    a = mpirun(1, "fp32", "diffq", "diffq_avx2", "--threads", "2", *steps)
    b = run(PYTHON, str(PEERS / "diffq_step.py"), "fp32", "diffq", "--threads", "2", *steps)
    ours.append(added(a, "diffq"))
    avx2.append(added(a, "diffq_avx2"))
    theirs.append(added(b, "diffq"))
    ratios.append(theirs[-1] / ours[-1])
    avx2_ratios.append(theirs[-1] / avx2[-1])
    c = mpirun(2, "fp32", "--alone-too", "--threads", "1", *steps)
    d = run(PYTHON, str(PEERS / "ddp_step.py"), "--threads", "1", *steps)
    our_efficiency.append(median_of(c, "fp32_alone") / median_of(c, "fp32"))
    their_efficiency.append(median_of(d, "fp32_alone") / median_of(d, "fp32"))

show("DiffQ adds to a step, here", ours, " ms")
show("the same with AVX2", avx2, " ms")
show("DiffQ adds to a step, published package", theirs, " ms")
show("ratio, round by round", ratios)
show("ratio with AVX2, round by round", avx2_ratios)
print(f"ratio of the medians: {statistics.median(theirs) / statistics.median(ours):.1f}, "
      f"with AVX2 {statistics.median(theirs) / statistics.median(avx2):.1f}")
show("efficiency of 2 ranks x 1 thread, here", our_efficiency)
show("efficiency of 2 ranks x 1 thread, DDP with Gloo", their_efficiency)
# Every block of 64 KiB or more straight from the system, so that the heap's fragmentation is not measured.
exact = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
fp32 = mpirun(1, "fp32", "--threads", "2", "--steps", "3", **exact)["peak_memory_mb"]
diffq = mpirun(1, "diffq", "--threads", "2", "--steps", "3", **exact)["peak_memory_mb"]
weights = 11_173_962 * 4 / 2**20
allowed = weights + 20 * 11_173_962 / 8 / 2**20
print(f"peak memory of a diffq step over fp32: {diffq - fp32:.1f} MB; one copy of the weights and 20 bytes a group: {allowed:.1f} MB")
