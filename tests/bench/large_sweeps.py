"""How long sweeps of thousands of finished runs take to plan, resume and verify, and how fast a busy queue answers:
large_sweeps.py [--runs 10000] [--queue-runs 2000] [--ranks 32]. Builds nothing: cmake --build build --target benches diffq."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mpi"))
from sweep_tools import environment, small_sweep, temporary_folder, write_data, write_sweep  # noqa: E402

BUILD = Path(__file__).resolve().parents[2] / "build"
DIFFQ, BENCH = BUILD / "diffq", BUILD / "tests/bench/sweep_bench"


def timed(*command):
    began = time.monotonic()
    outcome = subprocess.run([*map(str, command)], env=environment(), capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout[-500:] + outcome.stderr[-500:]
    return time.monotonic() - began, outcome.stdout


def sweep_of(folder, runs):
    lambdas = [1 + i / 1000 for i in range(runs // 10)]
    methods = [{"method": "diffq", "lambda": lambdas}]
    return write_sweep(folder / f"{runs}.json", small_sweep(folder / "data", methods, seeds=list(range(1, 11))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10000)
    parser.add_argument("--queue-runs", type=int, default=2000)
    parser.add_argument("--ranks", type=int, default=32)
    options = parser.parse_args()
    with temporary_folder() as folder:
        write_data(folder / "data")
        sweep, out = sweep_of(folder, options.runs), folder / "out"
        print(f"{options.runs} runs made in {timed(BENCH, 'fill', sweep, out)[0]:.1f} s", flush=True)
        for name, *command in (("plan", DIFFQ, "plan", sweep, "--out", out),
                               ("run (nothing left to do)", DIFFQ, "run", sweep, "--out", out, "--quiet"),
                               ("status", DIFFQ, "status", out), ("verify", DIFFQ, "verify", out),
                               ("verify --deep", DIFFQ, "verify", "--deep", out)):
            print(f"{name}: {timed(*command)[0]:.1f} s", flush=True)
        sweep, out = sweep_of(folder, options.queue_runs), folder / "queue"
        out.mkdir()
        print("queue:", timed("mpirun", "-q", "--oversubscribe", "--bind-to", "none", "-n", options.ranks, BENCH, "queue",
                              sweep, out)[1].strip())


main()
