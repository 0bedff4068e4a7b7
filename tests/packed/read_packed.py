"""The model files of finished runs: what docs/packed_format.md promises, and export, inspect, eval, verify."""

import json
import re
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/mpi"))

from sweep_tools import (expect_code, folder_state, launch, read_table, run_tests, small_sweep, write_data,  # noqa: E402
                         write_sweep)

MB = 2**20
DIFFQ = {"method": "diffq", "lambda": 5, "bits_lr": 0.05}
METHODS = [{"method": "fp32"}, {"method": "ptq", "bits": 3, "clip": ["minmax", "mse"]},
           {"method": "qat", "bits": [1, 2, 4, 8, 15]}, {"method": "lsq", "bits": [2, 4]},
           DIFFQ | {"group_size": [0, 1, 3, 8]},
           DIFFQ | {"lambda": 5, "bits_lr": 0.5, "range": ["tensor", "channel"], "min_bits": 0, "clip": "mse"}]
FLOAT16_METHODS = [{"method": "fp32"}, {"method": "ptq", "bits": 3}, {"method": "qat", "bits": 4},
                   {"method": "lsq", "bits": 4}, DIFFQ | {"group_size": [0, 3]}]


def documented_reader():
    """read_packed, as the page has it."""
    text = (ROOT / "docs/packed_format.md").read_text()
    block, = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    names = {}
    exec(compile(block, "docs/packed_format.md", "exec"), names)
    return names["read_packed"]


def diffq(*arguments):
    return expect_code(0, 0, *arguments).out


def train(folder, methods, float16=False):
    """A finished sweep: its folder, and the rows of /runs."""
    write_data(folder / "data")
    sweep = small_sweep(folder / "data", methods)
    sweep["benchmarks"][0]["quant"]["float16"] = float16
    out = folder / "out"
    expect_code(0, 2, "run", write_sweep(folder / "s.json", sweep), "--out", out)
    rows = read_table(out / "results.h5", "runs")
    assert rows and all(row["status"] == "done" for row in rows), rows
    return out, rows


def model_file(out, row):
    return out / "runs" / row["run_id"] / "model.safetensors"


def is_buffer(name):
    return name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked")


def header_of(path):
    content = path.read_bytes()
    length, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    return header.pop("__metadata__"), header


def expect_same(a, b):
    """The same tensors, bit for bit."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, (name, a[name].dtype, b[name].dtype)
        assert a[name].tobytes() == b[name].tobytes(), (name, np.flatnonzero(a[name] != b[name])[:5])


def check_metric(printed, row):
    name, value = printed.splitlines()[-1].split(" = ")
    assert name == row["metric_name"], printed
    assert f"{float(value):.9g}" == f"{row['metric']:.9g}", (printed, row["metric"])


def check_exports(folder, out, row, read_packed):
    """Weights: the documented reader's, those of --format fp32 and, rounded, those of --format fp16."""
    files = {kind: folder / f"{row['run_id']}-{kind}.safetensors" for kind in ("fp32", "fp16", "packed")}
    for kind, path in files.items():
        diffq("export", out, row["run_id"], "--format", kind, "--out", path)
    assert files["packed"].read_bytes() == model_file(out, row).read_bytes()
    weights = load_file(files["fp32"])
    assert all(weights[name].dtype == np.float32 for name in weights if not is_buffer(name))
    expect_same(read_packed(model_file(out, row)), weights)
    halves = load_file(files["fp16"])
    assert all(halves[name].dtype == np.float16 for name in halves if not is_buffer(name))
    expect_same(halves, {name: value.astype(halves[name].dtype) for name, value in weights.items()})
    return weights


def check_sizes(out, row):
    path = model_file(out, row)
    _, tensors = header_of(path)
    offsets = [tensor["data_offsets"] for name, tensor in tensors.items() if not is_buffer(name)]
    stored, counted = sum(end - begin for begin, end in offsets), row["size_mb"] * MB
    assert stored <= 1.005 * counted + 64 * len(offsets), (row["method"], stored, counted)
    assert stored >= counted or row["method"] == "diffq", "only the table of diffq may be smaller than counted"
    assert round(row["packed_file_mb"] * MB) == path.stat().st_size, row["packed_file_mb"]


def check_alone(folder, out, row):
    """The file by itself, in another folder, is enough."""
    alone = folder / f"alone-{row['run_id']}" / "copy.safetensors"
    alone.parent.mkdir()
    shutil.copy(model_file(out, row), alone)
    check_metric(diffq("eval", alone), row)
    diffq("verify", alone)
    return alone


def check_inspect(out, row):
    text = diffq("inspect", model_file(out, row))
    layers = [layer for layer in read_table(out / "results.h5", "layers") if layer["run_id"] == row["run_id"]]
    assert bool(layers) == (row["method"] != "fp32")
    for layer in layers:
        line = re.search(rf"^\s*{re.escape(layer['layer'])}\s.*", text, re.M)
        assert line, f"{layer['layer']}\n{text}"
        fractions = re.findall(r"(?<!\S)\d+\.(\d+)(?!\S)", line[0])
        assert any(f" {layer['mean_bits']:.{len(digits)}f}" in line[0] for digits in fractions), (layer, line[0])
    return layers


def check_compressed(folder, out, rows, weights):
    """Coding zstd: sizes, metrics, and the way back, from a folder with compressed models in place of its own."""
    other = folder / "compressed"
    shutil.copytree(out, other)
    for row in rows:
        path = folder / f"{row['run_id']}-compressed.safetensors"
        diffq("export", out, row["run_id"], "--format", "packed", "--compress", "--out", path)
        metadata, _ = header_of(path)
        assert metadata["coding"] == "zstd", metadata
        assert round(row["compressed_file_mb"] * MB) == path.stat().st_size, row["compressed_file_mb"]
        check_metric(diffq("eval", path), row)
        diffq("verify", path)
        shutil.copy(path, model_file(other, row))
        for kind in ("fp32", "packed"):
            diffq("export", other, row["run_id"], "--format", kind, "--out", folder / f"back-{kind}.safetensors")
        expect_same(load_file(folder / "back-fp32.safetensors"), weights[row["run_id"]])
        assert (folder / "back-packed.safetensors").read_bytes() == model_file(out, row).read_bytes()


def check_sweep(folder, methods, float16):
    read_packed = documented_reader()
    out, rows = train(folder, methods, float16)
    before = folder_state(out)
    weights, mixed = {}, 0
    for row in rows:
        metadata, tensors = header_of(model_file(out, row))
        config = json.loads(metadata["config"])
        later = config["method"].get("min_bits") == 0  # some groups vanish at such a λ; channels or not
        assert metadata["format"] == f"diffq-packed/{2 if later else 1}", metadata
        assert config["run_id"] == row["run_id"]
        halves = {name for name, tensor in tensors.items() if tensor["dtype"] == "F16"}
        assert bool(halves) == (float16 and row["method"] != "fp32"), (row["method"], halves)
        weights[row["run_id"]] = check_exports(folder, out, row, read_packed)
        check_sizes(out, row)
        check_alone(folder, out, row)
        mixed += sum(layer["min_bits"] < layer["max_bits"] for layer in check_inspect(out, row))
    assert mixed > 0, "all groups of a layer have the same bits: the table is not tested"
    diffq("verify", out)
    check_compressed(folder, out, rows, weights)
    assert folder_state(out) == before


def test_all_methods(folder):
    check_sweep(folder, METHODS, float16=False)


def test_float16(folder):
    check_sweep(folder, FLOAT16_METHODS, float16=True)


def test_data_elsewhere(folder):
    out, rows = train(folder, [{"method": "fp32"}, {"method": "qat", "bits": 2}])
    alone = check_alone(folder, out, rows[-1])
    (folder / "data").rename(folder / "moved")
    check_metric(diffq("eval", alone, "--data", "idx", "--root", folder / "moved"), rows[-1])
    expect_refusal("data", "eval", alone)
    # Another data set: its own files, and none of the numbers of samples of the first.
    expect_refusal("MNIST has", "eval", alone, "--data", "mnist", "--root", folder / "moved")
    expect_refusal("mnits", "eval", alone, "--data", "mnits")


def test_swapped_models(folder):
    """Whole files of equal size, but each in the other run's folder."""
    out, rows = train(folder, [{"method": "qat", "bits": 4, "train": {"optimizer": {"lr": [0.05, 0.04]}}}])
    first, second = (model_file(out, row) for row in rows)
    expect_code(0, 0, "verify", out)
    contents = first.read_bytes(), second.read_bytes()
    assert len(contents[0]) == len(contents[1]) and contents[0] != contents[1]
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    outcome = expect_code(2, 0, "verify", out)
    for path, row in ((first, rows[1]), (second, rows[0])):
        assert f'{path}: is the model of run "{row["run_id"]}"' in outcome.out, outcome


def expect_refusal(word, *arguments):
    outcome = launch(0, *arguments)
    lines = outcome.err.splitlines()
    assert outcome.code == 2, f"exit code 2 expected\n{outcome}"
    assert len(lines) == 1 and lines[0].startswith("diffq: error: "), f"one line expected\n{outcome}"
    assert str(word) in lines[0], f"{word} expected\n{outcome}"


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1:]


def test_wrong_use(folder):
    out, rows = train(folder, [{"method": "fp32"}, {"method": "qat", "bits": 2}])
    row = next(row for row in rows if row["method"] == "qat")
    whole = model_file(out, row).read_bytes()
    unknown, made = "0" * 12, folder / "made.safetensors"
    expect_refusal(unknown, "export", out, unknown, "--format", "packed", "--out", made)
    expect_refusal("--format", "export", out, row["run_id"], "--format", "fp33", "--out", made)
    expect_refusal(folder / "nowhere", "export", folder / "nowhere", row["run_id"], "--format", "fp32", "--out", made)
    expect_refusal(folder / "no" / "folder", "export", out, row["run_id"], "--format", "fp32",
                   "--out", folder / "no" / "folder" / "f.safetensors")
    assert not made.exists() and not (folder / "no").exists()

    contents = {"truncated": whole[:-1], "halved": whole[:len(whole) // 2], "empty": b"",
                "text": b"This is no model, only a line of text.\n", "longer": whole + b"\0",
                "flipped-middle": flip(whole, len(whole) // 2), "flipped-last": flip(whole, len(whole) - 1),
                "flipped-length": flip(whole, 0), "flipped-header": flip(whole, 60), "flipped-config": flip(whole, 400)}
    paths = [folder / "missing.safetensors", folder / "folder.safetensors"]
    paths[1].mkdir()
    for name, content in contents.items():
        paths.append(folder / f"{name}.safetensors")
        paths[-1].write_bytes(content)
    for command in ("inspect", "eval", "verify"):
        for path in paths:
            expect_refusal(path, command, path)

    damaged = model_file(out, row)
    damaged.write_bytes(contents["flipped-middle"])
    outcome = expect_code(2, 0, "verify", out)
    assert str(damaged) in outcome.out + outcome.err, outcome
    expect_refusal(damaged, "export", out, row["run_id"], "--format", "fp32", "--out", made)
    assert not made.exists()


run_tests([test_all_methods, test_float16, test_data_elsewhere, test_swapped_models, test_wrong_use])
