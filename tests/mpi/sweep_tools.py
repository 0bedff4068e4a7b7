"""What the tests of whole sweeps share: synthetic data, sweep files, starting diffq under mpirun, reading what it wrote."""

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import h5py
import numpy as np

# What is measured anew each time; everything else in results.h5 is a function of the sweep.
TIMINGS = {"train_seconds", "samples_per_second", "peak_memory_mb", "seconds"}


def program():
    return Path(sys.argv[1]).resolve()


@contextlib.contextmanager
def temporary_folder():
    folder = Path(tempfile.mkdtemp(prefix="diffq-sweep-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_data(folder, train=320, test=80, size=12, classes=4):
    """Four IDX files; pictures of a class share a pattern under noise, so that a few steps learn something."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    patterns = random.integers(60, 200, (classes, size, size))
    for part, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % classes
        pictures = patterns[labels] + random.integers(-60, 56, (count, size, size))
        write_idx(folder / f"{part}-images-idx3-ubyte", pictures.clip(0, 255))
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


def small_sweep(data, methods, **more):
    """A sweep over the synthetic data as a dict. Keys of `more` go to the benchmark's train, or to the sweep."""
    train = {"epochs": 2, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.05}}
    sweep = {
        "sweep": more.pop("name", "test"),
        "seeds": more.pop("seeds", [1]),
        "ranks_per_run": more.pop("ranks_per_run", 1),
        "benchmarks": [{
            "data": {"name": "idx", "root": str(data), "valid_samples": 64},
            "model": {"name": "small_cnn"},
            "train": train | more,
            "quant": {"min_size_mb": 0.0005},
            "methods": methods,
        }],
    }
    return sweep


def write_sweep(path, sweep):
    path.write_text(json.dumps(sweep, indent=2))
    return path


def environment():
    # On the CPU, also where there is a GPU: what is compared bit for bit is that.
    return os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1",
                         "CUDA_VISIBLE_DEVICES": ""}


def launch_command(ranks, *arguments, executable=None):
    command = [str(executable or program()), *map(str, arguments)]
    if ranks:
        command = ["mpirun", "-q", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command]
    return command


def start(ranks, *arguments, executable=None, **options):
    """Starts the program in a process group of its own; without mpirun when ranks is 0."""
    return subprocess.Popen(launch_command(ranks, *arguments, executable=executable), env=environment(),
                            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            **options)


def children(pid):
    """All processes below `pid`. mpirun puts each rank in a process group of its own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == pid:
                child = int(stat.parent.name)
                found += [child, *children(child)]
    return found


def kill_all(process):
    """kill -9 of the launcher and of every rank, at the same moment."""
    for pid in [process.pid, *children(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


class Outcome:
    def __init__(self, command, code, out, err, seconds):
        self.command, self.code, self.out, self.err, self.seconds = command, code, out, err, seconds

    def __str__(self):
        return f"{' '.join(self.command)}\nexit {self.code} after {self.seconds:.1f} s\n{self.out}{self.err}"


def launch(ranks, *arguments, limit=60, executable=None, **options):
    """Runs to the end; past the time limit everything is killed and the test fails."""
    began = time.monotonic()
    process = start(ranks, *arguments, executable=executable, **options)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        kill_all(process)
        out, err = process.communicate()
        raise AssertionError(f"hangs: {process.args}\n{out}{err}")
    return Outcome(process.args, process.returncode, out, err, time.monotonic() - began)


def expect_code(code, *arguments, **options):
    outcome = launch(*arguments, **options)
    assert outcome.code == code, f"exit code {code} expected\n{outcome}"
    return outcome


def read_journal(folder):
    """Whole events in order; lines torn by a kill are left out."""
    events = []
    path = Path(folder) / "journal.jsonl"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def ended(events, kind):
    return [event["run_id"] for event in events if event["event"] == kind]


def read_table(path, name):
    """Rows of a table of results.h5 as dicts of plain values."""
    def plain(value):
        return value.decode() if isinstance(value, bytes) else value.item()
    with h5py.File(path, "r") as file:
        table = file[name][:]
    return [{column: plain(row[column]) for column in table.dtype.names} for row in table]


def same(a, b):
    return a == b or (a != a and b != b)


def compare_results(first, second, leave_out=()):
    """Fails unless two results.h5 hold the same runs, epochs and layers bit for bit, timings apart."""
    compared = 0
    for table in ("runs", "epochs", "layers"):
        a, b = read_table(first, table), read_table(second, table)
        key = lambda row: (row["run_id"], row.get("epoch", 0), row.get("layer", ""))
        a, b = sorted(a, key=key), sorted(b, key=key)
        assert [key(row) for row in a] == [key(row) for row in b], f"{table}: other rows"
        for left, right in zip(a, b):
            for column in left.keys() - TIMINGS - set(leave_out):
                assert same(left[column], right[column]), \
                    f"{table} {key(left)} {column}: {left[column]!r} is not {right[column]!r}"
                compared += 1
    return compared


def compare_sweeps(first, second, leave_out=()):
    """The same results, and the same packed models, byte for byte."""
    compared = compare_results(first / "results.h5", second / "results.h5", leave_out)
    models = sorted(path.relative_to(first) for path in first.glob("runs/*/model.safetensors"))
    assert models == sorted(path.relative_to(second) for path in second.glob("runs/*/model.safetensors")) and models
    for model in models:
        assert (first / model).read_bytes() == (second / model).read_bytes(), f"{model} differs"
    assert not list(second.glob("runs/*/checkpoint-*")), "finished runs keep no checkpoints"
    return compared


def folder_state(folder):
    """Name and content of all files."""
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def run_tests(tests):
    """Each test is a function of a temporary folder; all run, any failure fails the program."""
    failures = 0
    chosen = sys.argv[-1] if sys.argv[-1] in [test.__name__ for test in tests] else None
    for test in tests:
        if chosen not in (None, test.__name__):
            continue
        began = time.monotonic()
        try:
            with temporary_folder() as folder:
                test(folder)
            word = "ok"
        except Exception as error:  # every test has its say
            failures += 1
            word = f"FAILED: {type(error).__name__}: {error}"
            traceback.print_exc()
        print(f"{test.__name__}: {word} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(1 if failures else 0)
