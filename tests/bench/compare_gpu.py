"""What has to be shown on a GPU, in one run: DiffQ's passes against a copy and the published package, DiffQ's share of a
DeiT-B step, our plain step against Python's torch.

usage: compare_gpu.py [--rounds 5]
Needs `cmake --build build --target benches` and the peers (docs/performance.md says how to install them). 77: no GPU.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "build/tests/bench"
PEERS = ROOT / "tests/bench/peers"
VENV = ROOT / ".venv-peers/bin/python"
PYTHON = str(VENV) if VENV.exists() else sys.executable  # a machine's own, where it has torch, timm and diffq

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=5)
args = parser.parse_args()


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=1200)
    if done.returncode == 77:
        print("no GPU: nothing measured")
        sys.exit(77)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(title, values, aim):
    print(f"{title}: median {statistics.median(values):.3f}, from {min(values):.3f} to {max(values):.3f}, "
          f"{len(values)} rounds; the aim is {aim}")


def median_ms(result, name):
    return statistics.median(result["ms"][name])


def steps(program, *more):
    return run(*program, "--steps", 20, "--device", "cuda", *more)


OURS, THEIRS = [BENCH / "step_bench"], [PYTHON, PEERS / "diffq_step.py"]

shares, speedups = [], []
for _ in range(args.rounds):
    ours = run(BENCH / "gpu_bench")
    shares.append(ours["bandwidth_share"])
    speedups.append(run(PYTHON, PEERS / "diffq_passes.py")["us"] / ours["us"]["all"])
print(f"device {ours['device']}, copy {ours['copy_gb_per_s']:.0f} GB/s, {ours['weights']} weights")
show("range + materialize + pull_back, share of the copy's bandwidth", shares, "0.75")
show("the published package's passes over ours, time", speedups, "15")

added = []
ratios = {"deit_base, bf16": [], "resnet18, repeatable": [], "resnet18, fastest": [], "resnet18, bf16": []}
for _ in range(args.rounds):
    deit = ["--model", "deit_base", "--batch", 64, "--precision", "bf16"]
    ours = steps(OURS, "fp32", "diffq", *deit)
    added.append(median_ms(ours, "diffq") / median_ms(ours, "fp32") - 1)
    ratios["deit_base, bf16"].append(median_ms(ours, "fp32") / median_ms(steps(THEIRS, "fp32", *deit), "fp32"))
    resnet = ["--model", "resnet18", "--batch", 128]
    # cuDNN's algorithms, on both sides alike.
    for name, our_words, their_words in [("repeatable", [], ["--repeatable"]), ("fastest", ["--fastest"], ["--fastest"]),
                                         ("bf16", ["--precision", "bf16"], ["--precision", "bf16", "--repeatable"])]:
        ratios[f"resnet18, {name}"].append(median_ms(steps(OURS, "fp32", *resnet, *our_words), "fp32") /
                                           median_ms(steps(THEIRS, "fp32", *resnet, *their_words), "fp32"))
show("what DiffQ adds to a DeiT-B step, batch 64, bf16", added, "0.03")
for model, values in ratios.items():
    show(f"our plain step over Python torch's, {model}", values, "1.0")
memory = {name: steps(OURS, name, *deit)["peak_memory_mb"] for name in ("fp32", "diffq")}
print(f"peak memory of the GPU: fp32 {memory['fp32']:.0f} MB, diffq {memory['diffq']:.0f} MB")
