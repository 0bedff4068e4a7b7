"""Signals, time limits, locks and shards: a sweep that is stopped leaves within seconds with exit code 75, says so in its
journal, and ends, when the same command is given again, as if it had never been stopped."""

import json
import os
import re
import signal
import socket
import time

import h5py

from sweep_tools import (children, compare_sweeps, ended, expect_code, kill_all, launch, read_journal, read_table, run_tests,
                         small_sweep, start, write_data, write_sweep)

METHODS = [{"method": "fp32"}, {"method": "ptq", "bits": 3}, {"method": "qat", "bits": 2},
           {"method": "lsq", "bits": 3, "start": "fp32"}, {"method": "diffq", "lambda": [1, 10], "group_size": 4}]


def write(folder, name="s", **more):
    if not (folder / "data").exists():
        write_data(folder / "data", train=576)
    return write_sweep(folder / f"{name}.json", small_sweep(folder / "data", METHODS, **({"epochs": 40} | more)))


def wait_for(condition, process=None, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, f"ended early: {process.communicate()}"
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.01)


def has_epochs(out, count=1):
    return sum(log.read_text().count(" epoch ") for log in out.glob("runs/*/log.txt")) >= count


def stop(process, send, out, code=75):
    """Sends the signal in the middle of a run; returns stderr and the seconds it took to leave."""
    wait_for(lambda: has_epochs(out), process)
    send()
    began = time.monotonic()
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code, (process.returncode, error)
    return error, time.monotonic() - began


def test_usr2_to_mpirun(folder):
    for ranks_per_run in (1, 2):
        sweep, out = write(folder, f"s{ranks_per_run}", ranks_per_run=ranks_per_run), folder / f"out{ranks_per_run}"
        whole = folder / f"whole{ranks_per_run}"
        expect_code(0, 4, "run", sweep, "--out", whole)
        stops = 0
        while True:
            process = start(4, "run", sweep, "--out", out)
            before = sum(log.read_text().count(" epoch ") for log in out.glob("runs/*/log.txt"))
            if stops == 3:
                break
            wait_for(lambda: has_epochs(out, before + 20), process)
            process.send_signal(signal.SIGUSR2)
            error = process.communicate(timeout=60)[1]
            assert process.returncode == 75, error
            stops += 1
            assert "SIGUSR2: stopping" in error
            last = read_journal(out)[-1]
            assert last["event"] == "sweep_ended" and last["pending"] > 0, last
            events = read_journal(out)
            for run_id in ended(events, "run_stopped"):
                finished = run_id in ended(events, "run_done")
                assert finished or list((out / "runs" / run_id).glob("checkpoint-*")), "stopped with a checkpoint"
            assert not (out / "lock").exists()
            with h5py.File(out / "results.h5", "r") as file:
                assert len(file["runs"]) == len(METHODS) + 1
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 0, error
        compare_sweeps(whole, out)
        steps = [event["step"] for event in read_journal(out) if event["event"] == "run_started"]
        assert sum(step > 0 for step in steps) >= stops, steps
        print(f"  {ranks_per_run} ranks a run: stopped {stops} times, {sum(step > 0 for step in steps)} runs went on")


def test_one_rank_alone_is_told(folder):
    """The others of its group learn of it in the step, the other groups from the queue."""
    sweep, out = write(folder, ranks_per_run=2, epochs=400), folder / "out"
    process = start(4, "run", sweep, "--out", out)
    wait_for(lambda: has_epochs(out, 4), process)
    ranks = [pid for pid in children(process.pid) if "diffq" in open(f"/proc/{pid}/comm").read()]
    assert len(ranks) == 4
    os.kill(ranks[-1], signal.SIGUSR1)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 75, error
    assert len(ended(read_journal(out), "run_stopped")) == 2, "both groups have left their runs"


def test_term_and_control_c_without_mpirun(folder):
    sweep = write(folder, epochs=400)
    for name, word in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")):
        out = folder / word
        process = start(0, "run", sweep, "--out", out)
        error, seconds = stop(process, lambda: process.send_signal(name), out)
        assert f"{word}: stopping" in error and seconds < 10, (error, seconds)
        assert list(out.glob("runs/*/checkpoint-*"))


def test_a_second_control_c_ends_at_once(folder):
    sweep, out = write(folder, epochs=400), folder / "out"
    process = start(0, "run", sweep, "--out", out)

    def twice():
        process.send_signal(signal.SIGSTOP)  # so that both come before it can leave by itself
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.001)
        process.send_signal(signal.SIGINT)
    wait_for(lambda: has_epochs(out), process)
    twice()
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 75), process.returncode


def test_cont_writes_a_checkpoint_and_goes_on(folder):
    sweep, out = write(folder, epochs=400, checkpoint_minutes=60), folder / "out"
    process = start(0, "run", sweep, "--out", out)
    wait_for(lambda: has_epochs(out, 2), process)

    def told_within_an_epoch():
        """An epoch's end soon takes the place of what was written: look at once, and tell it again."""
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
        return any(int(path.stem.split("-")[1]) % 16 for path in out.glob("runs/*/checkpoint-*.safetensors"))
    wait_for(told_within_an_epoch, process)
    assert process.poll() is None
    kill_all(process)
    process.communicate()


def test_max_minutes(folder):
    sweep, out = write(folder, ranks_per_run=2, epochs=400), folder / "out"
    outcome = expect_code(75, 4, "run", sweep, "--out", out, "--max-minutes", 0.1)
    assert re.search(r"--max-minutes: stopping; .* first; of the sweep, about \d+ min left", outcome.err) and outcome.seconds < 20
    assert ended(read_journal(out), "run_stopped")
    assert launch(0, "run", sweep, "--out", out, "--max-minutes", "-1").code == 2


def test_locks(folder):
    sweep, out = write(folder, epochs=400), folder / "out"
    process = start(0, "run", sweep, "--out", out)
    wait_for(lambda: has_epochs(out), process)
    outcome = expect_code(2, 0, "run", sweep, "--out", out)
    assert outcome.seconds > 9, "waits for one that is about to end"
    assert f"{out}: is being worked on by process {process.pid} on host {socket.gethostname()}" in outcome.err, outcome
    status = expect_code(0, 0, "status", out).out
    assert f"worked on by process {process.pid}" in status and "1 running" in status, status
    # A second start succeeds as soon as the first has ended.
    second = start(0, "run", sweep, "--out", out)
    time.sleep(1)
    kill_all(process)
    process.communicate()
    wait_for(lambda: sum(event["event"] == "sweep_started" for event in read_journal(out)) == 2, second)
    kill_all(second)
    second.communicate()
    status = expect_code(0, 0, "status", out).out
    assert f"stopped: process {second.pid}" in status and "0 running" in status, status
    assert expect_code(0, 0, "status", "--watch", out).out == status, "nobody works: there is nothing to watch"
    # One left on another host is honoured while it shows signs of life, and taken over when it is stale.
    lock = json.loads((out / "lock").read_text())
    (out / "lock").write_text(json.dumps(lock | {"host": "elsewhere"}))
    began = time.time()
    third = start(0, "run", sweep, "--out", out)
    time.sleep(2)
    assert third.poll() is None, "waits for a sign of life"
    os.utime(out / "lock")
    error = third.communicate(timeout=30)[1]
    assert third.returncode == 2 and "on host elsewhere" in error, error
    os.utime(out / "lock", (began - 100, began - 100))
    fourth = start(0, "run", sweep, "--out", out)
    # Gone for a moment while it changes hands.
    wait_for(lambda: (out / "lock").exists() and "elsewhere" not in (out / "lock").read_text(), fourth)
    # Who loses the lock leaves the folder alone.
    (out / "lock").write_text(json.dumps(lock | {"host": "elsewhere"}))
    error = fourth.communicate(timeout=40)[1]
    assert fourth.returncode == 70 and "was taken over by" in error, (fourth.returncode, error)


def test_shards(folder):
    sweep = write(folder, seeds=[1, 2, 3], epochs=2)
    expect_code(0, 2, "run", sweep, "--out", folder / "whole")
    shards = [folder / f"shard-{i}" for i in range(4)]
    for i, shard in enumerate(shards):
        expect_code(0, 2, "run", sweep, "--shard", f"{i}/4", "--out", shard)
    rows = [read_table(shard / "results.h5", "runs") for shard in shards]
    assert sum(map(len, rows)) == 18 and min(map(len, rows)) >= 3, "each run in one shard, and none idle"
    whole = {row["run_id"]: row for row in read_table(folder / "whole/results.h5", "runs")}
    for row in sum(rows, []):
        same = whole[row["run_id"]]
        assert (row["metric"], row["size_mb"], row["metric_valid"]) == (same["metric"], same["size_mb"], same["metric_valid"])
    table = expect_code(0, 0, "report", *shards, "--csv", folder / "all.csv", "--markdown", folder / "all.md").out
    assert len((folder / "all.csv").read_text().splitlines()) == 19
    text = lambda printed: sorted(printed.split("report ")[0].splitlines())
    expected = text(expect_code(0, 0, "report", folder / "whole").out)
    assert text(table) == expected, set(text(table)) ^ set(expected)
    for wrong in ("4/4", "1", "a/2", "1/2x", "-1/2", "0/0"):
        outcome = expect_code(2, 0, "run", sweep, "--shard", wrong, "--out", folder / "none")
        assert f"--shard {wrong}: must be i/N" in outcome.err, outcome


run_tests([test_usr2_to_mpirun, test_one_rank_alone_is_told, test_term_and_control_c_without_mpirun,
           test_a_second_control_c_ends_at_once, test_cont_writes_a_checkpoint_and_goes_on, test_max_minutes, test_locks,
           test_shards])
