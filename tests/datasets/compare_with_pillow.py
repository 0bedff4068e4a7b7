"""Decoded and resampled pixels beside those of Pillow, which has a libjpeg-turbo of its own.

usage: compare_with_pillow.py PHOTO_PIXELS
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageOps

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def ours(folder, name, kind):
    (file,) = folder.glob(f"{name}.{kind}_*")
    width, height = map(int, re.findall(r"\d+", file.name.split(kind)[1]))
    return np.frombuffer(file.read_bytes(), np.uint8).reshape(height, width, 3).astype(int)


def shown(picture):
    return ImageOps.exif_transpose(picture).convert("RGB")


def largest(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    return int(abs(a - np.asarray(b, int)).max())


def compare_evaluation(folder, kind):
    """The same files in any order, so each sample is looked for."""
    samples = np.fromfile(folder / f"photos.{kind}", np.float32).reshape(-1, 3, 64, 64).transpose(0, 2, 3, 1)
    samples = (samples * DEVIATION + MEAN) * 255
    worst, found = 0.0, set()
    for sample in samples:
        differences = {}
        for file in (folder / "photos/val").rglob("*.jpg"):
            reduced = Image.open(file).resize((int(72 * 157 / 133), 72), FILTERS[kind])
            left, top = round((reduced.width - 64) / 2), round((reduced.height - 64) / 2)
            differences[file] = abs(sample - np.asarray(reduced.crop((left, top, left + 64, top + 64)), float)).max()
        best = min(differences, key=differences.get)
        found.add(best)
        worst = max(worst, differences[best])
    print(f"samples of evaluation, {kind}: {len(found)} of {len(samples)}, largest difference {worst:.2f}")
    assert len(found) == len(samples) and worst <= 1.01


def main():
    worst = {"whole": 0, "half": 0, "box": 0, "cubic": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.argv[1], str(folder)], check=True)
        files = sorted(folder.glob("*.jpg"))
        assert len(files) == 24
        for file in files:
            whole = shown(Image.open(file))
            reduced = Image.open(file)
            width, height = reduced.size
            reduced.draft(None, (width // 2, height // 2))
            assert reduced.size == ((width + 1) // 2, (height + 1) // 2), "Pillow did not reduce"
            box, cubic = (whole.resize((48, 90), kind, box=(10.25, 7.5, 80.75, 67.75)) for kind in FILTERS.values())
            for kind, theirs in ("whole", whole), ("half", shown(reduced)), ("box", box), ("cubic", cubic):
                worst[kind] = max(worst[kind], largest(ours(folder, file.stem, kind), np.asarray(theirs)))
        print("largest differences in grey levels:", worst)

        for kind in FILTERS:
            compare_evaluation(folder, kind)
    assert max(worst.values()) <= 1, worst
    return 0


sys.exit(main())
