"""Exported weights in PyTorch's definitions of the published models (timm's, and of the CIFAR ResNets our own) give the logits
of our program from the packed file.

usage: published_logits.py MODEL_LOGITS DIFFQ     exit code 77: torch can't be imported here
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/mpi"))

from sweep_tools import expect_code, read_table, run_tests, small_sweep, write_idx, write_sweep  # noqa: E402

try:
    import timm
    import torch
    from published_resnet import resnet18, resnet20
    from safetensors.torch import load_file
except Exception as error:  # OSError, ValueError …, by what is missing
    print(f"skipped, torch can't be imported: {' '.join(str(error).split())[:300]}")
    sys.exit(77)

HELPER, DIFFQ = (Path(argument).resolve() for argument in sys.argv[1:3])
CLASSES = 10
RESNETS = {"resnet20": ("resnet20", resnet20), "resnet18": ("resnet18_cifar", resnet18)}  # name: (in the fixture, definition)
# name: sides of the pictures, the published definition for them
MODELS = {
    "resnet20": (16, lambda: resnet20(3, CLASSES)),
    "resnet18": (16, lambda: resnet18(3, CLASSES)),
    "deit_tiny": (32, lambda: timm.create_model("deit_tiny_patch16_224", img_size=32, num_classes=CLASSES)),
    "efficientnet_b3": (32, lambda: timm.create_model("efficientnet_b3", num_classes=CLASSES)),
}
METHODS = [{"method": "fp32"}, {"method": "qat", "bits": 3},
           {"method": "diffq", "lambda": 1, "group_size": 8, "bits_lr": 0.05}]


def write_colour_data(folder, side, train=336, test=32):
    folder.mkdir()
    random = np.random.default_rng(5)
    for part, count in (("train", train), ("t10k", test)):
        write_idx(folder / f"{part}-images-idx4-ubyte", random.integers(0, 256, (count, 3, side, side)))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(count) % CLASSES)
    return folder


def train(folder):
    for side in {side for side, _ in MODELS.values()}:
        write_colour_data(folder / f"data{side}", side)
    # enough steps for the running statistics to be those of the pictures
    sweep = small_sweep(folder, METHODS, epochs=1, batch_size=16, optimizer={"name": "sgd", "lr": 0.01})
    benchmark = sweep["benchmarks"][0] | {"quant": {"min_size_mb": 0.01}}
    data = {"name": "idx", "valid_samples": 16}
    sweep["benchmarks"] = [benchmark | {"data": data | {"root": str(folder / f"data{side}")}, "model": {"name": name}}
                           for name, (side, _) in MODELS.items()]
    expect_code(0, 1, "run", write_sweep(folder / "s.json", sweep), "--out", folder / "out", executable=DIFFQ, limit=300)
    return folder / "out"


def test_names(folder):
    """The definitions of the ResNets themselves: names, order and shapes are the published ones."""
    fixture = json.loads((ROOT / "tests/fixtures/models.json").read_text())
    for published, definition in RESNETS.values():
        model = definition()
        for kind in ("named_parameters", "named_buffers"):
            ours = [[name, list(tensor.shape)] for name, tensor in getattr(model, kind)()]
            assert ours == fixture[published][kind], (published, kind)


def check_logits(folder, out, row):
    weights, packed = folder / "weights.safetensors", out / "runs" / row["run_id"] / "model.safetensors"
    expect_code(0, 0, "export", out, row["run_id"], "--format", "fp32", "--out", weights, executable=DIFFQ)
    side, definition = MODELS[row["model"]]
    model = definition().eval()
    model.load_state_dict(load_file(weights), strict=True)
    pictures = np.random.default_rng(11).standard_normal((8, 3, side, side), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(pictures)).numpy()
    pictures.tofile(folder / "in.f32")
    expect_code(0, 0, packed, folder / "in.f32", 3, side, side, CLASSES, folder / "out.f32", executable=HELPER)
    logits = np.fromfile(folder / "out.f32", np.float32).reshape(expected.shape)
    assert np.isfinite(expected).all() and np.ptp(expected) > 0
    difference, largest = np.abs(logits - expected).max(), np.abs(expected).max()
    print(f"  {row['model']} {row['method']}: differ by {difference / largest:.1e} of the largest")
    assert difference <= 1e-4 * largest, (row["model"], row["method"], difference, largest)


def test_logits(folder):
    out = train(folder)
    rows = read_table(out / "results.h5", "runs")
    assert len(rows) == len(MODELS) * len(METHODS) and all(row["status"] == "done" for row in rows), rows
    for row in rows:
        check_logits(folder, out, row)


run_tests([test_names, test_logits])
