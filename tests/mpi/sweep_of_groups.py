"""One sweep on 4 ranks in 2 groups, with a run that fails: order, both groups busy, what is recorded, starting again."""

import math

import pandas

from sweep_tools import (ended, expect_code, launch, read_journal, read_table, run_tests, small_sweep, write_data, write_sweep)

METHODS = [
    {"method": "fp32"},
    {"method": "ptq", "bits": 4},
    {"method": "qat", "bits": 3},
    {"method": "qat", "bits": 2, "train": {"optimizer": {"lr": 1e30}, "max_skipped_steps": 5}},
    {"method": "lsq", "bits": 3, "start": "fp32"},
    {"method": "diffq", "lambda": 5, "group_size": 4, "bits_lr": 0.05},
]


def write_twelve_runs(folder):
    sweep = small_sweep(write_data(folder / "data"), METHODS, seeds=[1, 2], ranks_per_run=2, epochs=3)
    sweep["benchmarks"][0]["model"]["batchnorm"] = False  # which would hide the enormous weights
    return write_sweep(folder / "s.json", sweep)


def print_trace(events):
    group_of = {e["run_id"]: e["group"] for e in events if e["event"] == "run_started"}
    for event in events:
        run = event.get("run_id", "")
        print(f"  {event['time']}  group {group_of.get(run, '-')}  {run:12}  {event['event']}  {event.get('reason', '')}")


def check_order(events, rows):
    """A run starts after what it starts from is done, and both groups train at the same time."""
    fp32 = {row["seed"]: row["run_id"] for row in rows if row["method"] == "fp32"}
    start_of = {row["run_id"]: fp32[row["seed"]] for row in rows if row["method"] in ("ptq", "lsq")}
    done, busy, most_busy, groups = set(), set(), 0, set()
    for event in events:
        run = event.get("run_id")
        if event["event"] == "run_started":
            assert start_of.get(run, run) in done | {run}, f"{run} has started before {start_of[run]} was done"
            assert event["group"] not in {group for _, group in busy}, "a group trains two runs at a time"
            busy.add((run, event["group"]))
            groups.add(event["group"])
            most_busy = max(most_busy, len(busy))
        elif event["event"] in ("run_done", "run_failed"):
            busy = {(other, group) for other, group in busy if other != run}
            done |= {run} if event["event"] == "run_done" else set()
    assert groups == {0, 1} and most_busy == 2, (groups, most_busy)
    assert not busy


def check_tables(path, events):
    runs, epochs, layers = (read_table(path, name) for name in ("runs", "epochs", "layers"))
    done = {event["run_id"]: event for event in events if event["event"] == "run_done"}
    failed = {event["run_id"]: event for event in events if event["event"] == "run_failed"}
    fp32 = {row["seed"]: row for row in runs if row["method"] == "fp32"}
    assert len(runs) == 12 and len(done) == 10 and len(failed) == 2
    for row in runs:
        assert (row["dataset"], row["model"], row["benchmark"], row["ranks"]) == ("idx", "small_cnn", "image", 2)
        assert row["metric_fp32"] == fp32[row["seed"]]["metric"]
        if row["run_id"] in failed:
            assert row["method"] == "qat" and row["bits"] == 2 and row["status"] == "failed"
            assert row["reason"] == failed[row["run_id"]]["reason"]
            assert row["reason"].startswith("step ") and "not finite" in row["reason"], row["reason"]
            assert math.isnan(row["metric"])
            continue
        assert row["status"] == "done" and row["reason"] == ""
        assert row["metric"] == done[row["run_id"]]["metric"] and 0 <= row["metric"] <= 100
        assert row["size_mb"] == done[row["run_id"]]["size_mb"]
        assert row["ratio"] == row["size_fp32_mb"] / row["size_mb"]
        own_epochs = [e for e in epochs if e["run_id"] == row["run_id"]]
        trained = 0 if row["method"] == "ptq" else 3
        assert [e["epoch"] for e in own_epochs] == list(range(1, trained + 1))
        assert row["steps"] == 8 * trained
        if trained:
            assert own_epochs[-1]["metric"] == row["metric_valid"]
            assert own_epochs[-1]["size_mb"] == row["size_mb"]
        own_layers = [layer for layer in layers if layer["run_id"] == row["run_id"]]
        assert bool(own_layers) == (row["method"] != "fp32")
        for layer in own_layers:
            assert sum(layer[f"bits_{b}"] for b in range(16)) == layer["weights"]
            if row["method"] != "diffq":
                assert layer[f"bits_{int(row['bits'])}"] == layer["weights"]
    assert {row["method"] for row in runs} == {"fp32", "ptq", "qat", "lsq", "diffq"}


def check_with_pandas(folder, runs):
    table = pandas.read_csv(folder / "results.csv", dtype={"run_id": str})
    assert list(table["run_id"]) == [row["run_id"] for row in runs]
    expected = pandas.DataFrame(runs)
    pandas.testing.assert_series_equal(table["metric"], expected["metric"], rtol=1e-6)
    assert (table["status"] == expected["status"]).all()


def assert_same_runs(first, second):
    pandas.testing.assert_frame_equal(pandas.DataFrame(first), pandas.DataFrame(second), check_exact=True)


def test_twelve_runs_in_two_groups(folder):
    sweep, out = write_twelve_runs(folder), folder / "out"
    outcome = expect_code(1, 4, "run", sweep, "--out", out)
    events = read_journal(out)
    print_trace(events)
    rows = read_table(out / "results.h5", "runs")
    assert outcome.err.count("/12 done") >= 12
    check_order(events, rows)
    check_tables(out / "results.h5", events)
    check_with_pandas(out, rows)
    environment = read_table(out / "results.h5", "environment")
    assert [row["rank"] for row in environment] == [0, 1, 2, 3]
    assert all("Open MPI" in row["mpi"] and row["torch"] and row["hdf5"] for row in environment), environment

    # Again: nothing is trained, the answer is the same.
    outcome = expect_code(1, 4, "run", sweep, "--out", out, "--quiet")
    assert outcome.err == "" and outcome.out == "", "quiet"
    assert [e["event"] for e in read_journal(out)[len(events):]] == ["sweep_started", "sweep_ended"]
    assert_same_runs(read_table(out / "results.h5", "runs"), rows)
    check_tables(out / "results.h5", events)

    # The failed runs alone are tried again (and fail again).
    before = len(read_journal(out))
    expect_code(1, 4, "run", sweep, "--out", out, "--retry-failed")
    again = read_journal(out)[before:]
    failed = {row["run_id"] for row in rows if row["status"] == "failed"}
    assert set(ended(again, "run_started")) == set(ended(again, "run_failed")) == failed
    assert ended(again, "run_done") == []
    check_tables(out / "results.h5", events)


def test_only_some_runs(folder):
    sweep, out = write_twelve_runs(folder), folder / "out"
    expect_code(0, 4, "run", sweep, "--out", out, "--only", "method=lsq,seed=2")
    done = {(row["method"], row["seed"]) for row in read_table(out / "results.h5", "runs") if row["status"] == "done"}
    assert done == {("lsq", 2), ("fp32", 2)}, done
    # The rest comes later; what is there stays.
    expect_code(1, 4, "run", sweep, "--out", out)
    assert len(ended(read_journal(out), "run_done")) == 10
    assert len(set(ended(read_journal(out), "run_done"))) == 10


def test_a_changed_sweep_keeps_what_is_finished(folder):
    sweep, out = write_twelve_runs(folder), folder / "out"
    only = ("--only", "method=fp32,seed=1")
    expect_code(0, 2, "run", sweep, "--out", out, *only)
    expect_code(0, 2, "run", sweep, "--out", out, *only, "--set", "benchmarks.0.methods.2.bits=5")
    assert len(ended(read_journal(out), "run_done")) == 1


run_tests([test_twelve_runs_in_two_groups, test_only_some_runs, test_a_changed_sweep_keeps_what_is_finished])
