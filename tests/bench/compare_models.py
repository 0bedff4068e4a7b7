"""Training steps of whole models at batch 64 (text: 4096 tokens) against Python's torch, alternating in one run: fp32 against
fp32, and what DiffQ takes over our fp32.

usage: compare_models.py [--rounds 3] [--steps 5] [--model resnet18|deit_tiny|transformer_lm]…
Needs `cmake --build build --target benches` and the peers (docs/performance.md says how to install them).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = str(ROOT / "build/tests/bench/step_bench")
PYTHON, PEER = str(ROOT / ".venv-peers/bin/python"), str(ROOT / "tests/bench/peers/diffq_step.py")
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def times(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])["ms"]


def show(title, values):
    print(f"{title}: median {statistics.median(values):.3f}, from {min(values):.3f} to {max(values):.3f}, {len(values)} rounds",
          flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--model", action="append", choices=["resnet18", "deit_tiny", "transformer_lm"])
args = parser.parse_args()
for model in args.model or ["resnet18", "deit_tiny"]:
    batch = "8" if model == "transformer_lm" else "64"
    load = ["--model", model, "--batch", batch, "--threads", "2", "--steps", str(args.steps)]
    against_python, over_fp32 = [], []
    for _ in range(args.rounds):
        ours = times("mpirun", "-q", "-n", "1", "--oversubscribe", "--bind-to", "none", BENCH, "fp32", "diffq", *load)
        theirs = times(PYTHON, PEER, "fp32", *load)
        against_python.append(statistics.median(ours["fp32"]) / statistics.median(theirs["fp32"]))
        over_fp32.append(statistics.median(b / a for a, b in zip(ours["fp32"], ours["diffq"])))
    print(f"{model}, our fp32 step: {statistics.median(ours['fp32']):.0f} ms")
    show(f"{model}, our fp32 step over Python torch's", against_python)
    show(f"{model}, our DiffQ step over our fp32 step", over_fp32)
