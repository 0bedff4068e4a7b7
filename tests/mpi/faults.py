"""Faults on one rank of a group: all ranks leave the run, the reason is recorded, the next run starts, nothing hangs."""

import h5py

from sweep_tools import ended, expect_code, launch, read_journal, read_table, run_tests, small_sweep, write_data, write_sweep

# Fault (faulty_sweep.cpp) -> what the reason says, and the rank that has it: the seed's, unless it is always rank 0.
FAULTS = {
    1: ("fault reading sample", None),
    2: ("fault inside backward", None),
    3: ("fault after backward", 0),
    4: ("fault reading sample", None),
    5: ("bad_alloc", None),
    6: ("fault after the epoch", 0),
}


def diffq(fault):
    return {"method": "diffq", "lambda": fault, "group_size": 4}


def test_one_rank_fails(folder):
    data = write_data(folder / "data")
    methods = [{"method": "fp32"}]
    for fault in FAULTS:
        methods += [diffq(fault), {"method": "qat", "bits": 2 + fault}]
    sweep = write_sweep(folder / "s.json", small_sweep(data, methods, seeds=[1, 2], ranks_per_run=2, epochs=1))
    outcome = expect_code(1, 4, sweep, folder / "out")
    events = read_journal(folder / "out")
    rows = {row["run_id"]: row for row in read_table(folder / "out/results.h5", "runs")}
    assert len(rows) == 2 * (1 + 2 * len(FAULTS))
    reasons = {event["run_id"]: event["reason"] for event in events if event["event"] == "run_failed"}
    for run_id, row in rows.items():
        if row["method"] != "diffq":
            assert row["status"] == "done", row
            assert row["metric"] == row["metric"]
            continue
        text, rank = FAULTS[int(row["lambda"])]
        rank = row["seed"] % 2 if rank is None else rank
        assert row["status"] == "failed"
        assert row["reason"] == reasons[run_id]
        assert row["reason"].startswith(f"[rank {rank}/2 ") and text in row["reason"], row["reason"]
        print("  ", row["reason"])
        log = (folder / "out/runs" / run_id / "log.txt").read_text()
        assert "failed: " + row["reason"] in log
        assert not (folder / "out/runs" / run_id / "result.h5").exists()
        assert row["reason"] in outcome.err, "told while it goes on"
    assert len(reasons) == 2 * len(FAULTS)
    # Groups went on: each trained good runs after a fault of its own.
    failed = set(reasons)
    group_of = {e["run_id"]: e["group"] for e in events if e["event"] == "run_started"}
    for group in (0, 1):
        order = [e["run_id"] in failed for e in events
                 if e["event"] in ("run_done", "run_failed") and group_of[e["run_id"]] == group]
        first = order.index(True)
        assert False in order[first:], f"group {group}: {order}"
    assert events[-1]["event"] == "sweep_ended" and events[-1]["failed"] == len(reasons)


def test_failed_start_fails_what_waits_for_it(folder):
    data = write_data(folder / "data")
    sweep = small_sweep(data, [{"method": "fp32", "train": {"optimizer": {"lr": 1e30}}}, {"method": "ptq", "bits": 3},
                               {"method": "qat", "bits": 3}], max_skipped_steps=5)
    sweep["benchmarks"][0]["model"]["batchnorm"] = False
    expect_code(1, 2, write_sweep(folder / "s.json", sweep), folder / "out")
    rows = {row["method"]: row for row in read_table(folder / "out/results.h5", "runs")}
    assert rows["fp32"]["status"] == rows["ptq"]["status"] == "failed"
    # The update makes the weights infinite; five steps with such a loss in a row end the run.
    assert rows["fp32"]["reason"].startswith("step ") and "not finite" in rows["fp32"]["reason"], rows["fp32"]
    assert rows["ptq"]["reason"] == f"starts from run {rows['fp32']['run_id']}, which failed"
    assert rows["qat"]["status"] == "done"
    started = ended(read_journal(folder / "out"), "run_started")
    assert rows["ptq"]["run_id"] not in started


def expect_abort(folder, fault, text, ranks_per_run):
    """What no run can be blamed for ends the job at once, with one line and 70."""
    data = write_data(folder / "data")
    methods = [{"method": "fp32"}, diffq(fault), {"method": "qat", "bits": [2, 3, 4]}]
    sweep = write_sweep(folder / "s.json", small_sweep(data, methods, ranks_per_run=ranks_per_run, epochs=1))
    outcome = expect_code(70, 4, sweep, folder / "out", limit=45)
    errors = [line for line in outcome.err.splitlines() if line.startswith("diffq: error: ")]
    assert len(errors) == 1 and text in errors[0], outcome
    # And what was done stays done.
    done = ended(read_journal(folder / "out"), "run_done")
    for run_id in done:
        with h5py.File(folder / "out/runs" / run_id / "result.h5", "r") as file:
            assert len(file["runs"]) == 1
    return done


def test_unforeseen_failure_of_one_rank_ends_the_job(folder):
    expect_abort(folder, 7, "fault that nobody has foreseen", ranks_per_run=2)


def test_full_disk_under_the_journal_ends_the_job(folder):
    done = expect_abort(folder, 8, "journal.jsonl: can't be written: No space left on device", ranks_per_run=4)
    assert len(done) == 1, "the run before the fault"


def faulty(folder, faults, **more):
    data = write_data(folder / "data")
    methods = [{"method": "fp32"}, *map(diffq, faults), {"method": "qat", "bits": 2}]
    settings = {"ranks_per_run": 2, "epochs": 2, "max_skipped_steps": 3, "checkpoint_minutes": 1e-6} | more
    return write_sweep(folder / "s.json", small_sweep(data, methods, **settings))


def rows_of(folder):
    rows = read_table(folder / "out/results.h5", "runs")
    return {row["lambda"] if row["method"] == "diffq" else row["method"]: row for row in rows}


def test_numbers_that_are_none_and_a_slow_rank(folder):
    sweep = faulty(folder, (9, 10, 11))
    outcome = expect_code(1, 4, sweep, folder / "out")
    rows = rows_of(folder)
    assert rows[9]["status"] == "failed" and rows[9]["reason"].startswith("step 8 "), rows[9]
    assert "the loss is not finite, 3 steps in a row" in rows[9]["reason"]
    # What the loader read ahead counts too, so the sixth batch is the sixth step.
    assert (rows[10]["status"], rows[10]["skipped_steps"], rows[10]["steps"]) == ("done", 1, 16), rows[10]
    assert (rows[11]["status"], rows[11]["skipped_steps"]) == ("done", 0), rows[11]
    assert rows[11]["metric"] == rows[11]["metric"] and outcome.seconds > 4


def test_a_run_that_crashes_is_given_up_after_three_starts(folder):
    sweep = faulty(folder, (12,), ranks_per_run=1)
    starts = 0
    while True:
        outcome = launch(2, sweep, folder / "out", limit=60)
        starts += 1
        if outcome.code == 1:
            break
        assert starts <= 3, outcome
        assert (folder / "out/runs" / ended(read_journal(folder / "out"), "run_started")[-1]).exists()
    rows = rows_of(folder)
    assert starts == 4, "three in which it was the cause, then one that finishes the others"
    assert rows[12]["status"] == "failed" and rows["fp32"]["status"] == rows["qat"]["status"] == "done"
    assert "quarantined: it ended 3 starts" in rows[12]["reason"] and "Segmentation fault" in rows[12]["reason"], rows[12]
    print("  ", rows[12]["reason"])
    crashes = ended(read_journal(folder / "out"), "run_crashed")
    assert crashes == [rows[12]["run_id"]] * 3, "and no other run is blamed"
    launch(2, sweep, folder / "out", "retry", limit=60)
    assert len(ended(read_journal(folder / "out"), "run_started")) > 3, "--retry-failed tries again"


def test_a_run_that_is_killed_silently_is_given_up_in_the_end(folder):
    sweep = faulty(folder, (13,), ranks_per_run=1, checkpoint_minutes=60)
    for starts in range(1, 7):
        outcome = launch(0, sweep, folder / "out", "max_starts", 4, limit=60)
        if outcome.code == 1:
            break
    assert starts == 5, starts
    reason = rows_of(folder)[13]["reason"]
    assert "quarantined: 4 starts without a new checkpoint" in reason, reason


run_tests([test_one_rank_fails, test_failed_start_fails_what_waits_for_it,
           test_unforeseen_failure_of_one_rank_ends_the_job, test_full_disk_under_the_journal_ends_the_job,
           test_numbers_that_are_none_and_a_slow_rank, test_a_run_that_crashes_is_given_up_after_three_starts,
           test_a_run_that_is_killed_silently_is_given_up_in_the_end])
