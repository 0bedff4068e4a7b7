"""Packing and unpacking of ResNet-18, groups of 8 with 2 to 8 bits, against the published package, alternating in one run.

usage: compare_packing.py [--rounds 5] [--times 5]
Needs `cmake --build build --target benches` and the peers (docs/performance.md says how to install them).
"""
import argparse
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = ROOT / "tests/bench/peers/diffq_pack.py"
BENCH = str(ROOT / "build/tests/bench/pack_bench")
PYTHON = str(ROOT / ".venv-peers/bin/python")
THREADS = "2"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def speed(result, name):
    """GB of fp32 weights a second."""
    return result["fp32_bytes"] / statistics.median(result[name]) / 1e9


def show(title, values, unit=""):
    print(f"{title}: median {statistics.median(values):.3f}{unit}, from {min(values):.3f} to {max(values):.3f}, "
          f"{len(values)} rounds")


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--times", type=int, default=5, help="packings in a round; its median counts")
args = parser.parse_args()

parts = {"pack_s": "packing", "unpack_s": "unpacking"}
ours, theirs = {name: [] for name in parts}, {name: [] for name in parts}
for _ in range(args.rounds):
    a = run(BENCH, THREADS, str(args.times))
    b = run(PYTHON, str(PEER), "--threads", THREADS, "--rounds", str(args.times))
    for name in parts:
        ours[name].append(speed(a, name))
        theirs[name].append(speed(b, name))

for name, title in parts.items():
    show(f"{title}, here", ours[name], " GB/s of fp32")
    show(f"{title}, published package", theirs[name], " GB/s of fp32")
    show(f"{title}, ratio round by round", [a / b for a, b in zip(ours[name], theirs[name])])
    print(f"{title}, ratio of the medians: {statistics.median(ours[name]) / statistics.median(theirs[name]):.1f}")
