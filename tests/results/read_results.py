"""What h5py and pandas make of a results.h5, with no code of ours, and what our reader makes of files that h5py wrote.

Argument: the program that writes and reads the samples.
"""

import math
import re
import shutil
import subprocess
import sys
import tempfile
import zlib

import h5py
import numpy as np
import pandas as pd

S, F, I, B = "S", "<f8", "<i8", "|i1"
COLUMNS = {
    "runs": {
        "run_id": S, "benchmark": S, "dataset": S, "model": S, "method": S, "lambda": F, "bits": F, "group_size": F,
        "seed": I, "ranks": I, "status": S, "reason": S, "metric_name": S, "metric": F, "metric_valid": F,
        "metric_fp32": F, "higher_is_better": B, "size_mb": F, "size_fp32_mb": F, "ratio": F, "mean_bits": F,
        "packed_file_mb": F, "compressed_file_mb": F, "epochs": I, "steps": I, "skipped_steps": I, "train_seconds": F,
        "samples_per_second": F, "peak_memory_mb": F, "program_version": S, "git_commit": S, "config_json": S,
    },
    "epochs": {
        "run_id": S, "epoch": I, "train_loss": F, "eval_loss": F, "metric": F, "size_mb": F, "expected_size_mb": F,
        "mean_bits": F, "lr": F, "seconds": F, "lambda": F,
    },
    "layers": {
        "run_id": S, "layer": S, "weights": I, "mean_bits": F, "min_bits": F, "max_bits": F,
        **{f"bits_{width}": I for width in range(16)},
    },
    "tracks": {
        "run_id": S, "track": S, "source": S, "sdr": F, "isr": F, "sir": F, "sar": F, "usdr": F,
    },
    "environment": {
        "host": S, "rank": I, "device": S, "program": S, "torch": S, "mpi": S, "nccl": S, "hdf5": S, "threads": I,
    },
    "sweeps": {"sweep": S, "program_version": S, "git_commit": S, "sweep_json": S},
}


def check_columns(file):
    for table, columns in COLUMNS.items():
        dtype = file[table].dtype
        assert list(dtype.names) == list(columns), (table, dtype.names)
        for name, kind in columns.items():
            if kind == S:
                info = h5py.check_string_dtype(dtype[name])
                assert info is not None and info.encoding == "utf-8" and info.length >= 1, (table, name, info)
            else:
                assert dtype[name] == np.dtype(kind), (table, name, dtype[name])


def check_attributes(file, sweep):
    attributes = dict(file.attrs)
    assert attributes["schema_version"] == 2
    text = {name: value.decode("utf-8") if isinstance(value, bytes) else str(value) for name, value in attributes.items()}
    assert text["sweep"] == sweep, text
    assert text["size_unit"] == "MB = 2^20 bytes"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text["created_utc"]), text
    return text


def frame(file, table):
    data = pd.DataFrame(file[table][:])
    for name, kind in COLUMNS[table].items():
        if kind == S:
            data[name] = data[name].str.decode("utf-8")
    return data


def check_sample(file):
    check_columns(file)
    text = check_attributes(file, "demo λ")
    assert text["program_version"] == "0.1.0" and text["git_commit"] == "abc123"
    runs = frame(file, "runs")
    assert list(runs.run_id) == ["0123456789ab", "ba9876543210"]
    assert list(runs.method) == ["diffq", "lsq"] and list(runs.status) == ["done", "failed"]
    assert runs["lambda"][0] == 0.1 and math.isnan(runs["lambda"][1])
    assert math.isnan(runs.bits[0]) and runs.bits[1] == 4
    assert runs.seed[0] == 2**63 - 1 and runs.steps[0] == -(2**63) and runs.skipped_steps[0] == 3
    assert runs.metric[0] == 98.76543210987654 and runs.metric_valid[0] == math.inf and runs.metric_fp32[0] == -math.inf
    assert list(runs.higher_is_better) == [1, 0]
    assert runs.reason[0] == "" and runs.reason[1] == "step 7: the loss is not finite — naïve Größe, 重み, 🙂"
    assert runs.config_json[0] == '{"note": "' + "x" * 40000 + '"}' and runs.config_json[1] == ""
    epochs = frame(file, "epochs")
    assert list(epochs.epoch) == [1, 2] and list(epochs.train_loss) == [0.5, 0.5]
    assert math.isnan(epochs.eval_loss[0]) and epochs.eval_loss[1] == 0.25
    layers = frame(file, "layers")
    assert layers.layer[0] == "conv1.weight"
    histogram = [layers[f"bits_{width}"][0] for width in range(16)]
    assert histogram == list(range(1, 17)) and sum(histogram) == layers.weights[0]
    tracks = frame(file, "tracks")
    assert tracks.track[0] == "A Song" and tracks.sdr[0] == 5.5 and math.isnan(tracks.sir[0]) and tracks.usdr[0] == 5.75
    environment = frame(file, "environment")
    assert list(environment.host) == ["node1", "node2"] and list(environment.nccl) == ["", "2.21.5"]
    sweeps = frame(file, "sweeps")
    assert list(sweeps.sweep) == ["demo λ"] and sweeps.sweep_json[0] == '{"sweep": "demo λ",\n "seeds": [1]}'
    # One merge, as a reader would do it.
    merged = epochs.merge(runs[["run_id", "method"]], on="run_id")
    assert list(merged.method) == ["diffq", "diffq"]


def check_seal(path):
    with open(path, "rb") as file:
        content = file.read()
    body, seal = content[:-22], content[-22:]
    assert seal == b"\ndiffq-crc32 %08x\n" % zlib.crc32(body), seal


def read_back(path):
    return subprocess.run([sys.argv[1], "read", path], capture_output=True, text=True).stdout.strip()


def replace_table(file, table, fields):
    """The table with other columns: `fields` is a list of (name, dtype)."""
    old = file[table][:]
    new = np.zeros(len(old), dtype=fields)
    for name in new.dtype.names:
        if name in old.dtype.names:
            new[name] = old[name]
    del file[table]
    file.create_dataset(table, data=new)


def check_files_of_others(sample, folder):
    with h5py.File(sample, "r") as file:
        fields, epochs = ([(name, file[table].dtype[name]) for name in file[table].dtype.names]
                          for table in ("runs", "epochs"))
    whole = "demo λ 2 2 1 2\n0123456789ab diffq\nba9876543210 lsq"
    assert read_back(sample) == whole

    def variant(change):
        path = f"{folder}/variant.h5"
        shutil.copy(sample, path)
        with h5py.File(path, "r+") as file:
            change(file)
        answer = read_back(path)
        return answer.removeprefix(path + ": ")

    # Columns added, moved to another place, and strings of another width.
    more = [("note", h5py.string_dtype("utf-8", 5)), *reversed(fields), ("score", "<f4")]
    assert variant(lambda file: replace_table(file, "runs", more)) == whole
    without = [field for field in fields if field[0] != "lambda"]
    assert variant(lambda file: replace_table(file, "runs", without)) == "/runs: has no column 'lambda'"
    # Files from before λ was told of each epoch.
    earlier = [field for field in epochs if field[0] != "lambda"]
    assert variant(lambda file: replace_table(file, "epochs", earlier)) == whole
    narrow = [(name, "<f4" if name == "metric" else kind) for name, kind in fields]
    assert variant(lambda file: replace_table(file, "runs", narrow)) == "/runs: column 'metric' has another type of numbers"
    loose = [(name, h5py.string_dtype() if name == "model" else kind) for name, kind in fields if name != "config_json"]
    answer = variant(lambda file: replace_table(file, "runs", loose))
    assert answer == "/runs: column 'model' is not of fixed-length strings", answer

    def remove(file, name):
        del file[name]

    def set_attribute(file, name, value):
        file.attrs[name] = value

    def matrix(file):
        del file["epochs"]
        file["epochs"] = np.zeros((2, 2))

    assert variant(lambda file: remove(file, "layers")) == "/layers: is missing"
    # Files from before there were tracks have none.
    assert variant(lambda file: remove(file, "tracks")) == whole
    assert variant(matrix) == "/epochs: has not one dimension"
    for version in (0, 3):
        answer = variant(lambda file: set_attribute(file, "schema_version", version))
        assert answer == f"schema_version is {version}; this program reads 1 to 2", answer
    assert variant(lambda file: remove(file, "sweeps")) == "/sweeps: is missing"

    def older(file):
        """As version 1 had it: without /sweeps."""
        del file["sweeps"]
        file.attrs["schema_version"] = 1

    assert variant(older) == whole
    answer = variant(lambda file: set_attribute(file, "schema_version", "1"))
    assert answer == "attribute 'schema_version' is not a whole number", answer
    assert variant(lambda file: remove(file.attrs, "sweep")) == "attribute 'sweep' is missing"
    # Text set by h5py is of variable length.
    answer = variant(lambda file: set_attribute(file, "sweep", "other"))
    assert answer == "attribute 'sweep' is not a fixed-length string", answer


def main():
    with tempfile.TemporaryDirectory() as folder:
        sample, empty = f"{folder}/sample.h5", f"{folder}/empty.h5"
        subprocess.run([sys.argv[1], "write", sample, empty], check=True)
        check_seal(sample)
        with h5py.File(sample, "r") as file:
            check_sample(file)
        with h5py.File(empty, "r") as file:
            check_columns(file)
            check_attributes(file, "")
            assert all(len(frame(file, table)) == 0 for table in COLUMNS)
        check_files_of_others(sample, folder)
    print("results.h5: columns, types, strings and attributes as promised")


main()
