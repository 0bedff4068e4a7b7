"""Training samples from JPEG files a second with Pillow and torchvision's transforms. Prints JSON.

usage: torchvision_loader.py ROOT --batch-size N --samples N [--deit]      --deit: with timm's transforms for DeiT
"""
import argparse
import json
import pathlib
import time

import torch
from PIL import Image
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--samples", type=int, default=256)
parser.add_argument("--deit", action="store_true")
args = parser.parse_args()
torch.set_num_threads(1)
files = sorted(pathlib.Path(args.root).glob("train/*/*.jpg"))
crop = transforms.Compose([
    transforms.RandomResizedCrop(224),
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
if args.deit:
    from PIL import ImageOps
    from timm.data import auto_augment, create_transform

    # Pillow 13 refuses to leave no bit, which timm asks for where the magnitude reaches 10.
    auto_augment.NAME_TO_OP["PosterizeIncreasing"] = lambda picture, bits, **_: ImageOps.posterize(picture, max(bits, 1))
    crop = create_transform(224, is_training=True, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic", color_jitter=None,
                            re_prob=0.25, re_mode="pixel")


def decode(file):
    with open(file, "rb") as stream:
        return Image.open(stream).convert("RGB")


def load(samples):
    """Processor seconds of decoding and of the rest, stacking the batches included."""
    decoding = rest = 0.0
    order = torch.randint(len(files), (samples,)).tolist()
    for first in range(0, samples, args.batch_size):
        batch = []
        for i in order[first:first + args.batch_size]:
            start = time.process_time()
            picture = decode(files[i])
            decoded = time.process_time()
            batch.append(crop(picture))
            decoding += decoded - start
            rest += time.process_time() - decoded
        start = time.process_time()
        torch.stack(batch)
        rest += time.process_time() - start
    return decoding, rest


load(args.samples)
start = time.perf_counter()
decoding, rest = load(args.samples)
print(json.dumps({
    "images_per_second": args.samples / (time.perf_counter() - start),
    "decode_ms": 1e3 * decoding / args.samples,
    "rest_ms": 1e3 * rest / args.samples,
}))
