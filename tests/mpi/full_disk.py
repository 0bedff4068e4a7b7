"""A disk that is full at every write in turn, for good or for one moment; a read-only folder; a clock that goes back. Whatever
happens, nothing hangs, no finished run is lost, there is a reason, and with room again the same command completes the sweep.
full_disk.py DIFFQ FULL_DISK.so: the library is preloaded (tests/support/full_disk.cpp)."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py

from sweep_tools import (compare_sweeps, ended, environment, expect_code, program, read_journal, read_table, run_tests,
                         small_sweep, write_data, write_sweep)

LIBRARY = Path(sys.argv[2]).resolve()
METHODS = [{"method": "qat", "bits": 2}]


def run_with(faults, sweep, out):
    return subprocess.run([program(), "run", sweep, "--out", out], text=True, capture_output=True, timeout=60,
                          env=environment() | {"LD_PRELOAD": str(LIBRARY)} | {key: str(value) for key, value in faults.items()})


def prepare(folder):
    """A sweep of two runs: undisturbed, and with the first run alone finished."""
    data = write_data(folder / "data", train=160, test=40)
    sweep = write_sweep(folder / "s.json", small_sweep(data, METHODS, seeds=[1, 2], epochs=1, checkpoint_minutes=1e-6))
    expect_code(0, 0, "run", sweep, "--out", folder / "half", "--only", "seed=1")
    shutil.copytree(folder / "half", folder / "whole")
    expect_code(0, 0, "run", sweep, "--out", folder / "whole")
    return sweep


def check(folder, out, outcome, may_complete):
    assert outcome.returncode in (0, 1, 2, 70), outcome
    done = ended(read_journal(out), "run_done")
    before = ended(read_journal(folder / "half"), "run_done")
    assert done[:1] == before, "a finished run stays finished"
    for run_id in done:
        with h5py.File(out / "runs" / run_id / "result.h5", "r") as file:
            assert len(file["runs"]) == 1
    if outcome.returncode == 0:
        assert may_complete, "not with a disk that stays full"
        compare_sweeps(folder / "whole", out)
    elif outcome.returncode == 1:
        failed = [row for row in read_table(out / "results.h5", "runs") if row["status"] == "failed"]
        assert len(failed) == 1 and failed[0]["reason"], failed
    else:
        assert "No space left" in outcome.stderr or "can't be" in outcome.stderr, outcome
    return outcome.returncode


def test_full_at_every_write_in_turn(folder):
    sweep = prepare(folder)
    shutil.copytree(folder / "half", folder / "counted")
    run_with({"DIFFQ_FULL_FOLDER": folder / "counted", "DIFFQ_FULL_COUNT": folder / "count"}, sweep, folder / "counted")
    writes = int((folder / "count").read_text())
    assert writes > 20
    codes = {}
    for once in (False, True):
        for write in range(1, writes + 1):
            out = folder / "out"
            shutil.copytree(folder / "half", out)
            faults = {"DIFFQ_FULL_FOLDER": out, "DIFFQ_FULL_AFTER": write, "DIFFQ_FULL_COUNT": folder / "count"}
            (folder / "count").unlink(missing_ok=True)
            outcome = run_with(faults | ({"DIFFQ_FULL_ONCE": 1} if once else {}), sweep, out)
            # A checkpoint more or less: that depends on how long the disk takes for the one before. A program that leaves by
            # _exit makes no count.
            met = not (folder / "count").exists() or int((folder / "count").read_text()) >= write
            code = check(folder, out, outcome, once or not met)
            codes[once, code] = codes.get((once, code), 0) + 1
            if write % 2 == 0:
                expect_code(0, 0, "run", sweep, "--out", out, "--retry-failed")
                compare_sweeps(folder / "whole", out)
            shutil.rmtree(out)
    print(f"  {writes} writes; exit codes when it stays full", {code: n for (once, code), n in codes.items() if not once},
          "and when it is full once", {code: n for (once, code), n in codes.items() if once})


def test_read_only_folder(folder):
    sweep = prepare(folder)
    (folder / "disk").mkdir()
    script = ('mount -t tmpfs none "$1" && cp -r "$2" "$1/out" && mount -o remount,ro "$1" && shift 2 && '
              '"$@" --out "$PWD/disk/out"; code=$?; "$1" status disk/out; "$1" verify disk/out; exit $code')
    outcome = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", folder / "disk", folder / "half", program(), "run",
                              sweep], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)
    if "permission denied" in outcome.stderr.lower() or "not permitted" in outcome.stderr.lower():
        print("  skipped: nothing can be mounted here")
        return
    assert outcome.returncode == 2, outcome
    assert "can't be written" in outcome.stderr and "Read-only file system" in outcome.stderr, outcome
    assert "2 runs, 1 done" in outcome.stdout and "are whole and agree" in outcome.stdout, outcome


def test_clock_going_back(folder):
    sweep = prepare(folder)
    for asked in (0, 2):
        out = folder / f"out{asked}"
        shutil.copytree(folder / "half", out)
        outcome = run_with({"DIFFQ_CLOCK_BACK": asked}, sweep, out)
        assert outcome.returncode == 0, outcome
        compare_sweeps(folder / "whole", out)
        times = [event["time"] for event in read_journal(out)]
        assert times != sorted(times), "the clock did go back"


run_tests([test_full_at_every_write_in_turn, test_read_only_folder, test_clock_going_back])
