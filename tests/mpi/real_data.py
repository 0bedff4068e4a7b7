"""Real data through whole sweeps, with every method well above chance: MNIST written as CIFAR-10's records, and tiles of
photos as class folders of JPEG files. Skipped by name where scripts/test.sh did not fetch them."""

import gzip
import json
import os
from pathlib import Path

import numpy as np

from sweep_tools import expect_code, read_table, run_tests, write_sweep

DATA = Path(os.environ.get("DIFFQ_DATA") or Path(__file__).resolve().parents[2] / "data")
SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"
METHODS = [{"method": "fp32"},
           {"method": "lsq", "bits": 3, "start": "fp32", "train": {"optimizer": {"lr": 1e-3}}},
           {"method": "diffq", "lambda": 1, "group_size": 8, "bits_lr": 0.03}]


def read_mnist(part, count):
    read = lambda name, skip: np.frombuffer(gzip.decompress((DATA / "mnist" / name).read_bytes()), np.uint8)[skip:]
    pictures = read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:count]
    return pictures, read(f"{part}-labels-idx1-ubyte.gz", 8)[:count]


def write_as_cifar10(path, pictures, labels):
    """One label byte, then three equal planes of 32 x 32."""
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2))).reshape(len(pictures), 1024)
    np.concatenate([labels[:, None], padded, padded, padded], axis=1).astype(np.uint8).tofile(path)


def metrics(folder, data, train):
    sweep = {"sweep": "real", "benchmarks": [{"data": data, "model": {"name": "small_cnn"}, "train": train,
                                              "quant": {"min_size_mb": 0.001}, "methods": METHODS}]}
    out = folder / "out"
    expect_code(0, 2, "run", write_sweep(folder / "s.json", sweep), "--out", out, limit=300)
    expect_code(0, 0, "verify", out)
    rows = read_table(out / "results.h5", "runs")
    assert {row["method"] for row in rows} == {"fp32", "lsq", "diffq"} and all(row["status"] == "done" for row in rows)
    for row in rows:
        print(f"  {row['dataset']} {row['method']}: {row['metric']:.2f} %, {row['mean_bits']:.2f} bits")
    return rows


def test_mnist_as_cifar10(folder):
    if not (DATA / "mnist").exists():
        print(f"  skipped: no {DATA}/mnist; run scripts/fetch_data.sh mnist")
        return
    root = folder / "cifar-10-batches-bin"
    root.mkdir()
    pictures, labels = read_mnist("train", 10000)
    for i in range(5):
        write_as_cifar10(root / f"data_batch_{i + 1}.bin", pictures[i::5], labels[i::5])
    write_as_cifar10(root / "test_batch.bin", *read_mnist("t10k", 2000))
    train = {"epochs": 2, "batch_size": 64, "optimizer": {"name": "adam", "lr": 3e-3}, "schedule": {"name": "cosine"}}
    for row in metrics(folder, {"name": "cifar10", "root": str(folder), "valid_samples": 1000}, train):
        assert row["metric"] > 93, row["method"]  # chance: 10 %


def test_photos(folder):
    if not (DATA / "imagenet_tiles").exists():
        print(f"  skipped: no {DATA}/imagenet_tiles; run scripts/fetch_data.sh imagenet_tiles")
        return
    data = {"name": "imagenet", "root": str(DATA / "imagenet_tiles"), "valid_samples": 200,
            "augment": {"crop": 64, "resize": 72}}
    train = {"epochs": 8, "batch_size": 64, "optimizer": {"name": "adam", "lr": 3e-3}, "schedule": {"name": "cosine"},
             "label_smoothing": 0.1, "mixup": 0.2, "cutmix": 0.2}
    for row in metrics(folder, data, train):
        assert row["metric"] > 25, row["method"]  # chance: 5 %


def test_recipe_on_one_and_two_ranks(folder):
    """The recipe that ships for ImageNet, made small: each batch is the same, and so are the losses."""
    if not (DATA / "imagenet_tiles").exists():
        print(f"  skipped: no {DATA}/imagenet_tiles; run scripts/fetch_data.sh imagenet_tiles")
        return
    method = {"method": "diffq", "lambda": 0.01, "min_bits": 3, "rank_noise": "shared"}
    values = {"data.root": str(DATA / "imagenet_tiles"), "data.valid_samples": 100, "data.test_samples": 40,
              "data.train_samples": 72, "data.augment.crop": 32, "data.augment.resize": 40, "data.workers": 2,
              "model": {"name": "deit_tiny"}, "train.epochs": 2, "train.batch_size": 24, "train.schedule.warmup_epochs": 1,
              "methods": [method]}
    sets = [word for key, value in values.items() for word in ("--set", f"benchmarks.0.{key}={json.dumps(value)}")]
    losses = []
    for ranks in 1, 2:
        out = folder / f"out{ranks}"
        expect_code(0, ranks, "run", SWEEPS / "imagenet_deit.json", "--out", out, *sets, "--set", "seeds=[1]",
                    "--set", f"ranks_per_run={ranks}", limit=300)
        losses.append([row["train_loss"] for row in read_table(out / "results.h5", "epochs")])
    print(f"  losses on one rank {losses[0]}, on two {losses[1]}")
    assert len(losses[0]) == 2 and np.allclose(losses[0], losses[1], rtol=0, atol=1e-4)


run_tests([test_mnist_as_cifar10, test_photos, test_recipe_on_one_and_two_ranks])
