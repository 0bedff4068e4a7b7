"""BSS Eval of 30 s of stereo with 4 sources at 44.1 kHz, against museval 0.4.1, alternating in one run. The scores must agree.

usage: compare_bss.py [--rounds 3] [--seconds 30]
Needs `cmake --build build --target bss_bench` and the peers (docs/performance.md says how to install them).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = str(ROOT / "build/tests/bench/bss_bench")
PYTHON = str(ROOT / ".venv-peers/bin/python")
PEER = str(ROOT / "tests/bench/peers/museval_scores.py")
# Noise coloured differently for each source and channel; estimates hold some of the other sources and of new noise. Made by
# the peers' Python.
MAKE_SIGNALS = """
import sys
import numpy as np
random, samples = np.random.default_rng(1), int(float(sys.argv[2]) * 44100)
noise = random.standard_normal((4, samples, 2))
references = 0.1 * np.stack([noise[i] + 0.9 * np.roll(noise[i], i + 1, axis=0) for i in range(4)])
estimates = references + 0.2 * references.mean(0) + 0.01 * random.standard_normal(references.shape)
np.stack([references, estimates]).astype(np.float32).tofile(sys.argv[1])
"""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seconds", type=float, default=30)
args = parser.parse_args()

ours, theirs, worst = [], [], 0
with tempfile.TemporaryDirectory() as folder:
    signals = folder + "/signals"
    subprocess.run([PYTHON, "-c", MAKE_SIGNALS, signals, str(args.seconds)], check=True)
    for _ in range(args.rounds):
        a, b = run(BENCH, signals, "4", "2", "2", "1"), run(PYTHON, PEER, signals, "4", "2")
        ours += a["seconds"]
        theirs += b["seconds"]
        worst = max([worst] + [abs(x - y) for x, y in zip(a["scores"], b["scores"], strict=True)])

ratios = [b / a for a, b in zip(ours, theirs)]
print(f"here: median {statistics.median(ours):.2f} s; museval: median {statistics.median(theirs):.2f} s, {args.rounds} rounds")
print(f"museval over ours: median {statistics.median(ratios):.1f}, from {min(ratios):.1f} to {max(ratios):.1f}")
print(f"largest difference of a score: {worst:.1e} dB")
