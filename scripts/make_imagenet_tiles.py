"""Cuts tiles out of the 20 photos of ImageNet that the Python package foolbox carries: a small, real data set of JPEG
files in class folders, the class being the photo.

usage: make_imagenet_tiles.py WHEEL OUT      writes OUT/train and OUT/val; Pillow is needed
"""
import io
import pathlib
import re
import sys
import zipfile

from PIL import Image

SIDE, STRIDE, QUALITY = 96, 32, 90
SHORTER = 512  # photos are brought to this first, so that all give about as many tiles


def cut(photo, folder):
    folder.mkdir(parents=True)
    tiles = [
        (left, top)
        for top in range(0, photo.height - SIDE + 1, STRIDE)
        for left in range(0, photo.width - SIDE + 1, STRIDE)
    ]
    for number, (left, top) in enumerate(tiles):
        photo.crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{number:03d}.jpg", quality=QUALITY)
    return len(tiles)


def main():
    wheel, out = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
    names = sorted(name for name in wheel.namelist() if re.fullmatch(r"foolbox/data/imagenet_\d\d_\d+\.jpg", name))
    assert len(names) == 20, f"{sys.argv[1]}: holds {len(names)} photos, not 20"
    train = val = 0
    for name in names:
        photo = Image.open(io.BytesIO(wheel.read(name))).convert("RGB")
        scale = SHORTER / min(photo.size)
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
        border = photo.width * 13 // 16
        label = pathlib.Path(name).stem.removeprefix("imagenet_")
        train += cut(photo.crop((0, 0, border, photo.height)), out / "train" / label)
        val += cut(photo.crop((border, 0, photo.width, photo.height)), out / "val" / label)
    print(f"{train} tiles to train on, {val} to test on, {len(names)} classes")


if __name__ == "__main__":
    main()
