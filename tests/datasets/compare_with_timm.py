"""Each operation of RandAugment beside timm's own, at several levels and both signs; erased boxes beside timm's as distributions.

usage: compare_with_timm.py AUGMENTED_PIXELS
"""
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, auto_augment
from timm.data.random_erasing import RandomErasing

KINDS = auto_augment._RAND_INCREASING_TRANSFORMS
GEOMETRY = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
MEAN_COLOUR = tuple(min(255, round(255 * x)) for x in IMAGENET_DEFAULT_MEAN)


def theirs(picture, kind, level, negative, interpolation):
    if kind == "PosterizeIncreasing" and level == 10:
        return np.zeros((picture.height, picture.width, 3), int)  # no bit is left, which Pillow 13 refuses
    hparams = {"img_mean": MEAN_COLOUR, "interpolation": FILTERS[interpolation]}
    op = auto_augment.AugmentOp(kind, prob=1.0, magnitude=level, hparams=hparams)
    with mock.patch.object(auto_augment.random, "random", return_value=0.75 if negative else 0.25):
        return np.asarray(op(picture), int)


def compare_operations(folder):
    worst, off, compared = {}, {}, 0
    for source in sorted(folder.glob("*.picture_*")):
        name, shape = source.name.split(".picture_")
        width, height = map(int, shape.split("_"))
        picture = Image.frombytes("RGB", (width, height), source.read_bytes())
        for file in folder.glob(name + ".*.*"):
            _, number, level, negative, interpolation = file.name.split(".")
            kind = KINDS[int(number)]
            ours = np.frombuffer(file.read_bytes(), np.uint8).reshape(height, width, 3).astype(int)
            differences = abs(ours - theirs(picture, kind, int(level), negative == "1", interpolation))
            worst[kind] = max(worst.get(kind, 0), int(differences.max()))
            off[kind] = max(off.get(kind, 0), float((differences > 0).mean()))
            compared += 1
    print("largest differences in grey levels:", worst)
    print("largest part of a picture's values that differ:", {kind: round(part, 4) for kind, part in off.items() if part})
    assert compared == 3 * 15 * 4 * 2 * 2, compared
    for kind in KINDS:
        # Ours is computed in float, Pillow's in double, and both are rounded down: what is almost whole may differ by one.
        most, most_off = (1, 0.05) if kind in GEOMETRY else (0, 0)
        assert worst[kind] <= most and off[kind] <= most_off, (kind, worst[kind], off[kind])


def their_boxes(count):
    erase = RandomErasing(probability=0.25, mode="pixel", device="cpu")
    boxes = []
    for _ in range(count):
        found = erase(torch.zeros(1, 224, 224))[0].nonzero()
        if len(found):
            top, left = found.min(0).values.tolist()
            bottom, right = found.max(0).values.tolist()
            boxes.append((top, left, bottom - top + 1, right - left + 1))
    return np.array(boxes), len(boxes) / count


def distance(a, b):
    """Of Kolmogorov and Smirnov."""
    at = np.sort(np.concatenate([a, b]))
    return abs(np.searchsorted(np.sort(a), at, "right") / len(a) - np.searchsorted(np.sort(b), at, "right") / len(b)).max()


def compare_boxes(folder):
    ours = np.fromfile(folder / "boxes", np.int64).reshape(-1, 4)
    part = (ours[:, 0] >= 0).mean()
    ours = ours[ours[:, 0] >= 0]
    torch.manual_seed(1)
    auto_augment.random.seed(1)
    boxes, their_part = their_boxes(20000)
    print(f"erased: {part:.4f} here, {their_part:.4f} there")
    assert abs(part - 0.25) < 0.013 and abs(part - their_part) < 0.018  # four standard deviations
    limit = 2.0 * np.sqrt(1 / len(ours) + 1 / len(boxes))  # exceeded by chance once in 1500
    for what, of in {"top": lambda b: b[:, 0], "left": lambda b: b[:, 1], "area": lambda b: b[:, 2] * b[:, 3],
                     "ratio": lambda b: b[:, 2] / b[:, 3]}.items():
        found = distance(of(ours), of(boxes))
        print(f"{what}: distance of the distributions {found:.4f}, limit {limit:.4f}")
        assert found < limit, what


with tempfile.TemporaryDirectory() as name:
    subprocess.run([sys.argv[1], name], check=True)
    compare_operations(pathlib.Path(name))
    compare_boxes(pathlib.Path(name))
