"""plan, status and report: exit codes, what they print, what they leave alone."""

import os
import re
import shutil
import signal
import time

from sweep_tools import (ended, expect_code, folder_state, kill_all, read_journal, read_table, run_tests, small_sweep, start,
                         write_data, write_sweep)

METHODS = [{"method": "fp32"}, {"method": "ptq", "bits": 3},
           {"method": "qat", "bits": 2, "train": {"optimizer": {"lr": 1e30}, "max_skipped_steps": 5}},
           {"method": "diffq", "lambda": 2, "group_size": 4}]


def write(folder, **more):
    if not (folder / "data").exists():
        write_data(folder / "data")
    sweep = small_sweep(folder / "data", METHODS, **more)
    sweep["benchmarks"][0]["model"]["batchnorm"] = False
    return write_sweep(folder / "s.json", sweep)


def states(plan):
    """run id -> last word of its line."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in plan.splitlines()]
    return {fields[0]: fields[-1] for fields in lines if re.fullmatch("[0-9a-f]{12}", fields[0])}


def test_version_and_help(folder):
    assert re.fullmatch(r"diffq \d+\.\d+\.\d+ \(\S+\)\n", expect_code(0, 0, "--version").out)
    text = expect_code(0, 0, "--help").out
    for command in ("plan", "run", "status", "report"):
        assert re.search(rf"^\s+{command}\s", text, re.M), text
        assert "--help" in expect_code(0, 0, command, "--help").out
    once = expect_code(0, 2, "--version").out
    assert once.count("diffq") == 1, "once and not per rank"


def test_plan(folder):
    sweep, out = write(folder, seeds=[1, 2]), folder / "out"
    plan = expect_code(0, 0, "plan", sweep).out
    assert len(states(plan)) == 8 and plan.count("ptq") == 2 and "8 runs" in plan
    first = next(iter(states(plan)))
    assert next(line for line in plan.splitlines() if " ptq " in line).count(first) == 1, "what it starts from"
    assert not out.exists()
    assert set(states(expect_code(0, 0, "plan", sweep, "--out", out).out)) == set(states(plan))
    assert not out.exists(), "a plan makes nothing"
    # An override before the file's name is one override.
    three = expect_code(0, 0, "plan", "--set", "seeds=[1,2,3]", sweep).out
    assert len(states(three)) == 12 and set(states(plan)) < set(states(three))
    # A part of the sweep, as run takes it: every second run that starts from none, with what starts from it.
    ids = list(states(plan))
    only = expect_code(0, 0, "plan", sweep, "--shard", "0/2", "--only", "method=ptq").out
    assert list(states(only)) == ids[:2] and "2 runs" in only and "1 of them starts" in only, only
    assert "--shard 2/2: must be i/N" in expect_code(2, 0, "plan", sweep, "--shard", "2/2").err

    expect_code(1, 2, "run", sweep, "--out", out, "--only", "seed=1")
    before = folder_state(out)
    words = states(expect_code(0, 0, "plan", sweep, "--out", out).out)
    rows = {row["run_id"]: row for row in read_table(out / "results.h5", "runs")}
    for run_id, word in words.items():
        assert word.endswith({"done": "done", "failed": "failed", "pending": "run"}[rows[run_id]["status"]]), (run_id, word)
    assert folder_state(out) == before


def test_memory_that_is_planned(folder):
    """Against the same run's own peak. The batch is large beside the libraries: its share is most of what grows."""
    write_data(folder / "data", train=2600, test=300)
    sweep = small_sweep(folder / "data", [{"method": "fp32"}, {"method": "diffq", "lambda": 2}], epochs=1)
    sweep["benchmarks"][0]["train"]["batch_size"] = 1280
    path = write_sweep(folder / "s.json", sweep)
    fields = {cells[0]: cells for cells in (re.split(r"\s{2,}", line) for line in expect_code(0, 0, "plan", path).out.splitlines())}
    for method in ("fp32", "diffq"):
        out = folder / method
        expect_code(0, 1, "run", path, "--out", out, "--only", f"method={method}")
        (row,) = [row for row in read_table(out / "results.h5", "runs") if row["status"] == "done"]
        planned = float(fields[row["run_id"]][-1])
        assert 0.9 < planned / row["peak_memory_mb"] < 1.1, (method, planned, row["peak_memory_mb"])
        print(f"  {method}: planned {planned} MB, taken {row['peak_memory_mb']:.0f} MB")


def test_status(folder):
    sweep, out = write(folder, epochs=200, seeds=[1, 2, 3, 4]), folder / "out"
    process = start(2, "run", sweep, "--out", out)
    try:
        deadline = time.monotonic() + 60
        while not ended(read_journal(out), "run_done"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        live, during = r"worked on by .*; about \d+ min left\n(.*\n)*running .*, epoch \d+/200 step \d+/\d+ loss \d", ""
        while not re.search(live, during):
            assert process.poll() is None and time.monotonic() < deadline, during
            during = expect_code(0, 0, "status", out).out
        process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            kill_all(process)
    assert process.returncode == 1
    counts = re.match(r"sweep test: 16 runs, (\d+) done, (\d+) failed, (\d+) running, (\d+) to run; last started 20", during)
    assert counts and int(counts[1]) >= 1 and int(counts[3]) in (1, 2) and sum(map(int, counts.groups())) == 16, during
    assert re.search(r"running [0-9a-f]{12} idx small_cnn \w+.* seed \d, since 20", during), during
    assert during.count("running ") >= int(counts[3])
    before = folder_state(out)
    assert not (out / "progress.json").exists(), "it is of a sweep at work"
    after = expect_code(0, 0, "status", out).out
    assert after.startswith("sweep test: 16 runs, 12 done, 4 failed, 0 running, 0 to run; "), after
    failed = {row["run_id"]: row["reason"] for row in read_table(out / "results.h5", "runs") if row["status"] == "failed"}
    for run_id, reason in failed.items():
        assert f"failed  {run_id} {reason}\n" in after, after
    assert folder_state(out) == before
    # Of a smaller sweep in the same folder: what was done for the larger one does not count.
    smaller = write(folder, epochs=200, seeds=[1])
    expect_code(1, 2, "run", smaller, "--out", out)
    after = expect_code(0, 0, "status", out).out
    assert after.startswith("sweep test: 4 runs, 3 done, 1 failed, 0 running, 0 to run; "), after


def test_report_of_two_folders(folder):
    first, second = folder / "first", folder / "second"
    sweep = write(folder, seeds=[1])
    expect_code(1, 2, "run", sweep, "--out", first)
    sweep = write(folder, seeds=[1, 2], name="second")
    expect_code(1, 2, "run", sweep, "--out", second)
    before, own = folder_state(second), {name: (first / name).read_bytes() for name in ("report.html", "report.md", "results.csv")}
    outcome = expect_code(0, 0, "report", first, second)
    assert f"report  {first}/joined.md" in outcome.out and "fp32" in outcome.out
    assert all((first / name).read_bytes() == content for name, content in own.items()), "its own report stays"
    ids = [line.split(",")[0].strip('"') for line in (first / "joined.csv").read_text().splitlines()[1:]]
    expected = {row["run_id"] for out in (first, second) for row in read_table(out / "results.h5", "runs")}
    assert len(ids) == len(set(ids)) == 8 and set(ids) == expected, "each run once"
    assert folder_state(second) == before
    expect_code(0, 0, "report", second, "--markdown", folder / "r.md", "--csv", folder / "r.csv")
    assert folder_state(second) == before
    assert (folder / "r.csv").read_text() == (second / "results.csv").read_text()
    assert (folder / "r.md").read_text() == (second / "report.md").read_text()
    page = (first / "joined.html").read_text()
    assert page.endswith("</html>\n") and 'data-reload-seconds="0"' in page and all(run_id in page for run_id in ids)
    elsewhere = ["--html", folder / "r.html", "--markdown", folder / "r.md", "--csv", folder / "r.csv"]
    expect_code(0, 0, "report", second, *elsewhere)
    assert folder_state(second) == before and (folder / "r.html").read_text() == (second / "report.html").read_text()


def test_report_of_damaged_files(folder):
    out = folder / "out"
    expect_code(1, 2, "run", write(folder), "--out", out)
    results, before = out / "results.h5", (out / "report.md").read_text()
    whole = results.read_bytes()
    for content, why in ((whole[:len(whole) // 2], "not a whole HDF5 file"), (b"", "is empty"),
                         (b"a\tb\n1\t2\n", "not a whole HDF5 file"), (whole[:5000] + b"?" + whole[5001:], "damaged: its content doesn't match its checksum")):
        results.write_bytes(content)
        error = expect_code(2, 0, "report", out).err
        assert error.startswith(f"diffq: error: {results}: ") and why in error and "`diffq run`" in error, error
        assert error.count("\n") == 1
    assert (out / "report.md").read_text() == before
    expect_code(1, 2, "run", folder / "s.json", "--out", out)
    assert expect_code(0, 0, "report", out).out, "the remedy that it names is one"


def test_missing_model(folder):
    """A finished run whose model is gone is told of, stays done, and is done again when its folder is removed."""
    sweep, out = write(folder), folder / "out"
    expect_code(0, 1, "run", sweep, "--out", out, "--only", "method=fp32")
    expect_code(0, 0, "verify", out)
    (model,) = out.glob("runs/*/model.safetensors")
    whole = model.read_bytes()
    for damage in (model.unlink, lambda: model.write_bytes(whole[:-1])):
        damage()
        error = expect_code(2, 0, "verify", out).err
        assert str(model) in error and "its whole folder" in error, error
        again = expect_code(0, 1, "run", sweep, "--out", out, "--only", "method=fp32")
        assert f"missing or damaged: 1, the first in {model.parent}; remove such a folder" in again.err, again.err
        assert len(ended(read_journal(out), "run_done")) == 1, "it stays done"
    shutil.rmtree(model.parent)
    expect_code(0, 1, "run", sweep, "--out", out, "--only", "method=fp32")
    assert model.read_bytes() == whole
    assert "results.h5, 1 finished runs" in expect_code(0, 0, "verify", out).out

    (out / "results.h5").unlink()
    said = expect_code(0, 0, "verify", out).out
    assert "results.h5, 1 finished" not in said and "`diffq run` on the same folder writes it" in said, said
    assert "holds no results.h5 yet" in expect_code(2, 0, "report", out).err
    expect_code(0, 1, "run", sweep, "--out", out, "--only", "method=fp32")
    error = expect_code(2, 0, "report", out, "--html", folder / "nowhere" / "r.html").err
    assert "nowhere/r.html" in error and "write elsewhere" in error, error


def test_watch(folder):
    """A page that loads itself again while the journal says that the sweep runs, and no more when it has ended."""
    out = folder / "out"
    expect_code(1, 2, "run", write(folder), "--out", out)
    page, journal, results = out / "report.html", out / "journal.jsonl", out / "results.h5"
    expect_code(0, 0, "report", out, "--watch")  # a sweep that is over is not waited for

    def wait_for(condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)

    def is_live():
        text = page.read_text()
        assert text.endswith("</html>\n"), "never half a page"
        return 'data-reload-seconds="10"' in text

    with journal.open("a") as file:
        file.write('{"event":"sweep_started","sweep":"test","runs":4,"time":"2026-01-01T00:00:00Z"}\n')
    whole = results.read_bytes()
    results.unlink()
    process = start(0, "report", out, "--watch")
    try:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and "nothing to show yet" in output and not errors, (output, errors)
        process = start(0, "report", out, "--watch")
        time.sleep(0.5)
        assert process.poll() is None, "waits for the first results.h5"
        results.write_bytes(whole)
        wait_for(is_live)
        page.unlink()
        os.utime(results)
        wait_for(page.exists)
        with journal.open("a") as file:
            file.write('{"event":"sweep_ended","done":2,"failed":1,"pending":1,"unfinished":1}\n{"event":"sweep_started"}\n')
        time.sleep(3)
        assert process.poll() is None, "a sweep that was stopped goes on later"
        with journal.open("a") as file:
            file.write('{"event":"sweep_ended","done":3,"failed":1,"pending":0,"unfinished":0}\n')
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and "fp32" in output and not errors, (output, errors)
        assert not is_live()

        with journal.open("a") as file:
            file.write('{"event":"sweep_started","sweep":"test","runs":4,"time":"2026-01-01T00:00:02Z"}\n')
        process = start(0, "report", out, "--watch")
        wait_for(is_live)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0 and not is_live(), "Ctrl-C leaves a page that is at rest"
    finally:
        if process.poll() is None:
            kill_all(process)
    expect_code(2, 0, "report", folder, "--watch")


run_tests([test_version_and_help, test_plan, test_memory_that_is_planned, test_status, test_report_of_two_folders,
           test_report_of_damaged_files, test_missing_model, test_watch])
