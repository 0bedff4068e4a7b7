"""Wrong input: exit code 2, exactly one line on stderr that names place and remedy, nothing trained, no folder made."""

import json
import random
import shutil
import struct
from pathlib import Path

from sweep_tools import folder_state, launch, run_tests, small_sweep, write_data, write_sweep


def good_sweep(folder):
    data = folder / "data"
    if not data.exists():
        write_data(data)
    return small_sweep(data, [{"method": "fp32"}, {"method": "qat", "bits": [2, 3]},
                              {"method": "diffq", "lambda": 1, "group_size": 4}], seeds=[1], ranks_per_run=2)


def expect_refusal(words, ranks, *arguments, **options):
    outcome = launch(ranks, *arguments, limit=30, **options)
    lines = outcome.err.splitlines()
    assert outcome.code == 2, f"exit code 2 expected\n{outcome}"
    assert len(lines) == 1 and lines[0].startswith("diffq: error: "), f"one line expected\n{outcome}"
    assert outcome.out == "", outcome
    for word in words:
        assert word in lines[0], f"{word!r} expected\n{outcome}"
    print("  " + lines[0][:230])


def refuse_sweep(folder, words, change=None, text=None, ranks=None):
    """`diffq plan` and, with ranks (0: without mpirun), `diffq run` refuse the sweep; no folder is made."""
    sweep = good_sweep(folder)
    if change:
        change(sweep, sweep["benchmarks"][0])
    path = folder / "s.json"
    path.write_bytes(text) if text is not None else write_sweep(path, sweep)
    out = folder / "out"
    expect_refusal(words, 0, "plan", path)
    if ranks is not None:
        expect_refusal(words, ranks, "run", path, "--out", out)
    assert not out.exists(), "a folder was made"


def setter(*path):
    """Sets a value deep in the benchmark: the last argument at the path of the others."""
    def change(_, benchmark):
        *where, key, value = path
        at = benchmark
        for step in where:
            at = at[step]
        at[key] = value
    return change


def test_sweep_files(folder):
    place = "s.json: benchmarks[0]."
    cases = {
        "misspelt key": ([place, "epoch", "epochs"], setter("train", "epoch", 3)),
        "misspelt word": ([place + "methods[0].method", "fp32"], setter("methods", 0, "method", "fp23")),
        "misspelt model": ([place + "model.name", "small_cnn"], setter("model", "name", "small_cn")),
        "wrong type": ([place + "train.epochs", "\"three\""], setter("train", "epochs", "three")),
        "fraction": ([place + "train.epochs"], setter("train", "epochs", 1.5)),
        "empty axis": ([place + "methods[1].bits"], setter("methods", 1, "bits", [])),
        "no epochs": ([place + "train.epochs", "at least 1"], setter("train", "epochs", 0)),
        "negative batch": ([place + "train.batch_size", "at least 1"], setter("train", "batch_size", -32)),
        "negative group": ([place + "methods[2].group_size"], setter("methods", 2, "group_size", -1)),
        "negative rate": ([place + "train.optimizer.lr"], setter("train", "optimizer", "lr", -0.1)),
        "no bits": ([place + "methods[1].bits", "from 1 to 15"], setter("methods", 1, "bits", 0)),
        "min over init": ([place + "methods[2]", "min_bits"], setter("methods", 2, "min_bits", 9)),
        "init over max": ([place + "methods[2]", "init_bits"], setter("methods", 2, "init_bits", 15)),
        "min over max": ([place + "methods[2]"], setter("methods", 2, "max_bits", 1)),
        "batch not divisible": ([place + "train.batch_size", "32"], setter("train", "batch_size", 31)),
        "batch too large": (["batch_size", "258"], setter("train", "batch_size", 258)),
        "seeds twice": (["seeds[1]"], lambda sweep, _: sweep.update(seeds=[1, 1])),
        "no benchmarks": (["benchmarks"], lambda sweep, _: sweep.update(benchmarks=[])),
        "no ranks": (["ranks_per_run"], lambda sweep, _: sweep.update(ranks_per_run=0)),
        "same run twice": ([place + "methods[3]"], lambda _, b: b["methods"].append({"method": "fp32"})),
        "nothing to start from": ([place + "methods[0]", "fp32"], lambda _, b: b.update(methods=[{"method": "ptq", "bits": 2}])),
    }
    for number, (name, (words, change)) in enumerate(cases.items()):
        try:
            refuse_sweep(folder, words, change, ranks=0 if number % 6 == 0 else None)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_texts_that_are_no_sweep(folder):
    good = json.dumps(good_sweep(folder), indent=1).encode()
    refuse_sweep(folder, ["s.json", "epochs"], text=good.replace(b'"epochs": 2', b'"epochs": 2, "epochs": 2'))
    generator = random.Random(1)
    for length in (0, 1, 20, len(good) // 2, len(good) - 1):
        refuse_sweep(folder, ["s.json"], text=good[:length], ranks=0 if length == 1 else None)
    for _ in range(5):
        refuse_sweep(folder, ["s.json"], text=generator.randbytes(400))
    refuse_sweep(folder, ["s.json"], text=b"\x00" * 100)
    refuse_sweep(folder, ["s.json"], text=b"[" * 100000)


def test_data(folder):
    good_sweep(folder)
    kept = folder / "kept"
    shutil.copytree(folder / "data", kept)
    images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"

    def damage(name, content):
        shutil.rmtree(folder / "data")
        shutil.copytree(kept, folder / "data")
        path = folder / "data" / name
        path.unlink() if content is None else path.write_bytes(content((kept / name).read_bytes()))
        refuse_sweep(folder, [name], ranks=0 if content is None else None)

    damage(images, None)
    damage("t10k-labels-idx1-ubyte", None)
    for name in (images, labels):
        damage(name, lambda whole: whole[:-1])
        damage(name, lambda whole: whole[:3])
        damage(name, lambda whole: b"")
        damage(name, lambda whole: b"\x01" + whole[1:])
        damage(name, lambda whole: whole[:2] + b"\x0d" + whole[3:])  # float32, not bytes
        damage(name, lambda whole: whole[:4] + struct.pack(">I", 10**9) + whole[8:])
    shutil.rmtree(folder / "data")
    refuse_sweep_without_data = small_sweep(folder / "data", [{"method": "fp32"}])
    write_sweep(folder / "s.json", refuse_sweep_without_data)
    expect_refusal([str(folder / "data")], 0, "run", folder / "s.json", "--out", folder / "out")
    assert not (folder / "out").exists()


def test_folders(folder):
    sweep = write_sweep(folder / "s.json", good_sweep(folder))
    (folder / "file").write_text("x")
    for out in (folder / "file", folder / "file/below", Path("/proc/diffq")):
        expect_refusal([str(out), "give another --out"], 2, "run", sweep, "--out", out)
    other = folder / "other"
    other.mkdir()
    (other / "sweep.json").write_text('{"sweep": "another"}')
    before = folder_state(other)
    expect_refusal([str(other), '"another"', '"test"', "give another --out"], 2, "run", sweep, "--out", other)
    expect_refusal([str(other), '"another"'], 0, "plan", sweep, "--out", other)
    assert folder_state(other) == before
    # A journal that is damaged where no kill can have done it.
    (other / "sweep.json").write_text('{"sweep": "test"}')
    (other / "journal.jsonl").write_text('{"event": "sweep_started"}\nrubbish\n{"event": "run_done", "run_id": "a"}\n')
    before = folder_state(other)
    words = ["journal.jsonl: line 2 is damaged"]
    expect_refusal(words, 2, "run", sweep, "--out", other)
    expect_refusal(words, 0, "plan", sweep, "--out", other)
    expect_refusal(words, 0, "status", other)
    assert folder_state(other) == before
    for command in ("status", "report"):
        expect_refusal([str(folder / "none")], 0, command, folder / "none")
        expect_refusal([str(folder / "data")], 0, command, folder / "data")


def test_command_lines(folder):
    sweep, out = write_sweep(folder / "s.json", good_sweep(folder)), folder / "out"
    for words, arguments in {
        ("--qiet",): ("run", sweep, "--out", out, "--qiet"),
        ("--out",): ("run", sweep),
        ("SWEEP.json",): ("run", "--out", out),
        ("\"runn\" is no command", "plan, run, status, report"): ("runn", sweep, "--out", out),
        ("see diffq --help",): (),
        ("can't be read", "none.json"): ("run", folder / "none.json", "--out", out),
        ("can't be read", "a folder"): ("run", folder, "--out", out),
        ("--set", "="): ("run", sweep, "--out", out, "--set", "benchmarks.0.train.epochs"),
        ("epocs", "epochs"): ("run", sweep, "--out", out, "--set", "benchmarks.0.train.epocs=3"),
        ("benchmarks.9",): ("run", sweep, "--out", out, "--set", "benchmarks.9.train.epochs=3"),
        ("epochs", "at least 1"): ("run", sweep, "--out", out, "--set", "benchmarks.0.train.epochs=0"),
        ("--only", "metod"): ("run", sweep, "--out", out, "--only", "metod=qat"),
        ("--only", "="): ("run", sweep, "--out", out, "--only", "qat"),
        ("--only", "none of"): ("run", sweep, "--out", out, "--only", "seed=77"),
    }.items():
        expect_refusal(words, 0, *arguments)
    expect_refusal(["--only"], 2, "run", sweep, "--out", out, "--only", "qat=1")
    expect_refusal(["--qiet"], 2, "run", sweep, "--out", out, "--qiet")
    assert not out.exists()


def test_ranks(folder):
    sweep, out = write_sweep(folder / "s.json", good_sweep(folder)), folder / "out"
    words = ["ranks_per_run: 2 does not divide", "mpirun -n"]
    expect_refusal(words, 0, "run", sweep, "--out", out)
    expect_refusal(words, 3, "run", sweep, "--out", out)
    refuse_sweep(folder, ["epoch"], setter("train", "epoch", 3), ranks=2)
    assert not out.exists()


run_tests([test_sweep_files, test_texts_that_are_no_sweep, test_data, test_folders, test_command_lines, test_ranks])
