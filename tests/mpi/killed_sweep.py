"""kill -9 of mpirun and all ranks in the middle of a sweep: everything stays readable, the same command completes it, and the
results are those of a sweep that was never killed. The same numbers come from any number of groups.
killed_sweep.py PROGRAM [kills=50] [test]: so many kills at random moments instead of 10."""

import random
import sys
import time

import h5py

from sweep_tools import (compare_results, compare_sweeps, ended, expect_code, kill_all, read_journal, read_table,
                         run_tests, small_sweep, start, write_data, write_sweep)

KILLS = next((int(argument[6:]) for argument in sys.argv if argument.startswith("kills=")), 10)

METHODS = [
    {"method": "fp32"},
    {"method": "ptq", "bits": 3},
    {"method": "qat", "bits": [2, 4]},
    {"method": "lsq", "bits": 3, "start": "fp32"},
    {"method": "diffq", "lambda": [1, 10], "group_size": 4, "bits_lr": 0.05},
]
RUNS = 14


def write(folder, ranks_per_run):
    sweep = small_sweep(folder / "data", METHODS, seeds=[1, 2], ranks_per_run=ranks_per_run, epochs=6)
    return write_sweep(folder / f"s{ranks_per_run}.json", sweep)


def check_readable(out):
    """Whatever is there is whole. Returns the runs that are finished."""
    done = ended(read_journal(out), "run_done")
    files = list(out.glob("runs/*/result.h5"))
    assert {file.parent.name for file in files} >= set(done), "in the journal means on disk"
    for path in [*files, *out.glob("results.h5")]:
        with h5py.File(path, "r") as file:
            for table in ("runs", "epochs", "layers"):
                file[table][:]
    for file in files:
        rows = read_table(file, "runs")
        assert len(rows) == 1 and rows[0]["run_id"] == file.parent.name and rows[0]["status"] == "done"
    return done


def wait_for(process, out, condition):
    deadline = time.monotonic() + 60
    while not condition(read_journal(out)):
        assert process.poll() is None, f"ended early: {process.communicate()}"
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.002)


def test_killed_again_and_again(folder):
    write_data(folder / "data", train=576)
    sweep = write(folder, ranks_per_run=2)
    whole, out = folder / "whole", folder / "out"
    expect_code(0, 4, "run", sweep, "--out", whole)

    finished = []
    # Killed while it starts; in the middle of runs; right when runs end, which is when files are written.
    moments = [
        lambda events: (out / "sweep.json").exists(),
        lambda events: len(ended(events, "run_started")) >= 2,
        lambda events: len(ended(events, "run_done")) > len(finished) + 1,
        lambda events: len(ended(events, "run_done")) > len(finished) + 3,
    ]
    for moment in moments:
        process = start(4, "run", sweep, "--out", out)
        wait_for(process, out, moment)
        kill_all(process)
        process.communicate()
        done = check_readable(out)
        assert done[:len(finished)] == finished
        print(f"  killed with {len(done)} of {RUNS} runs done, {len(ended(read_journal(out), 'run_started'))} starts")
        finished = done
    assert 0 < len(finished) < RUNS, "killed in the middle"
    # The torn line of a kill at the worst moment.
    with (out / "journal.jsonl").open("a") as journal:
        journal.write('{"event":"run_do')

    outcome = expect_code(0, 4, "run", sweep, "--out", out)
    assert f"[{RUNS}/{RUNS} done]" in outcome.err
    done = check_readable(out)
    assert len(done) == len(set(done)) == RUNS, "a finished run was trained again"
    print(f"  {compare_results(whole / 'results.h5', out / 'results.h5')} values are those of the sweep that was not killed")

    # And results.h5 alone, lost or damaged, is rebuilt from the runs' own files.
    (out / "results.h5").write_bytes(b"rubbish")
    expect_code(0, 4, "run", sweep, "--out", out)
    compare_results(whole / "results.h5", out / "results.h5")


def write_long(folder, ranks_per_run):
    sweep = small_sweep(folder / "data", METHODS[2:], seeds=[1], ranks_per_run=ranks_per_run, epochs=30,
                        checkpoint_minutes=0.001, optimizer={"name": "adam", "lr": 0.002})
    sweep["benchmarks"][0]["methods"].insert(0, {"method": "fp32"})
    return write_sweep(folder / f"long{ranks_per_run}.json", sweep)


def kill_at_random(folder, sweep, ranks, kills, chance):
    """Kills so many times, in as many sweeps as that takes. Returns how many starts went on inside a run."""
    whole = folder / f"whole-{sweep.stem}"
    expect_code(0, ranks, "run", sweep, "--out", whole)
    killed = resumed = sweeps = 0
    while killed < kills:
        sweeps += 1
        out = folder / f"out-{sweep.stem}-{sweeps}"
        while True:
            process = start(ranks, "run", sweep, "--out", out)
            moment = chance.uniform(0.2, 5)
            began = time.monotonic()
            while killed < kills and process.poll() is None and time.monotonic() - began < moment:
                time.sleep(0.005)
            if killed == kills or process.poll() is not None:
                error = process.communicate(timeout=240)[1]
                assert process.returncode == 0, error
                assert "warning" not in error, error
                break
            kill_all(process)
            process.communicate()
            killed += 1
            check_readable(out)
            if (out / "journal.jsonl").exists():
                expect_code(0, 0, "verify", "--deep", out)
        resumed += sum(event["step"] > 0 for event in read_journal(out) if event["event"] == "run_started")
        done = ended(read_journal(out), "run_done")
        assert len(done) == len(set(done)), "a finished run was trained again"
        compare_sweeps(whole, out)
        expect_code(0, 0, "verify", "--deep", out)
    print(f"  {sweep.stem}: {killed} kills in {sweeps} sweeps, {resumed} runs went on from a checkpoint; all the same")
    return resumed


def test_killed_at_random_moments(folder):
    write_data(folder / "data", train=576)
    chance = random.Random(17)
    resumed = kill_at_random(folder, write_long(folder, 1), 2, (KILLS + 1) // 2, chance)
    resumed += kill_at_random(folder, write_long(folder, 2), 4, KILLS // 2, chance)
    assert resumed > KILLS // 4, "most kills are in the middle of runs"


def test_any_number_of_groups_gives_the_same(folder):
    write_data(folder / "data")
    sweep = write(folder, ranks_per_run=1)
    for ranks in (0, 1, 2):
        expect_code(0, ranks, "run", sweep, "--out", folder / f"out{ranks}")
    for ranks in (0, 1):
        assert compare_results(folder / f"out{ranks}/results.h5", folder / "out2/results.h5") > 100
    events = read_journal(folder / "out2")
    assert {event["group"] for event in events if event["event"] == "run_started"} == {0, 1}


def test_a_damaged_result_is_done_again(folder):
    write_data(folder / "data")
    sweep, out = write(folder, ranks_per_run=1), folder / "out"
    only = ("--only", "seed=1")
    expect_code(0, 2, "run", sweep, "--out", out, *only)
    before = {row["run_id"]: row for row in read_table(out / "results.h5", "runs")}
    damaged = next(run_id for run_id, row in before.items() if row["method"] == "qat")
    path = out / "runs" / damaged / "result.h5"
    path.write_bytes(path.read_bytes()[:-100])
    events = len(read_journal(out))
    outcome = expect_code(0, 2, "run", sweep, "--out", out, *only)
    assert f"diffq: warning: {path}" in outcome.err and "the run is done again" in outcome.err, outcome
    assert ended(read_journal(out)[events:], "run_started") == [damaged]
    after = {row["run_id"]: row for row in read_table(out / "results.h5", "runs")}
    assert after[damaged]["metric"] == before[damaged]["metric"]
    assert after[damaged]["size_mb"] == before[damaged]["size_mb"]


run_tests([test_killed_again_and_again, test_killed_at_random_moments, test_any_number_of_groups_gives_the_same,
           test_a_damaged_result_is_done_again])
