"""The job scripts on a real Slurm, started here on ports of its own: requeued in mid-run, and signalled before the time limit
again and again, a sweep ends complete and identical to one that ran undisturbed. Skipped with a line that says so where the
daemons are not installed or cannot start."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweep_tools import (compare_sweeps, environment, ended, expect_code, program, read_journal, run_tests, small_sweep,
                         write_data, write_sweep)

SOURCE = Path(__file__).resolve().parents[2]
SKIPPED = 77
METHODS = [{"method": "fp32"}, {"method": "qat", "bits": 2}, {"method": "diffq", "lambda": [1, 10], "group_size": 4}]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """munged, slurmctld and slurmd on this machine alone; use as a context."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="diffq-slurm-"))
        self.processes = []
        self.environment = environment() | {"SLURM_CONF": str(self.folder / "slurm.conf"),
                                            "OMPI_MCA_odls_base_sigkill_timeout": "2"}

    def write_configuration(self):
        folder, host = self.folder, socket.gethostname().split(".")[0]
        (folder / "munge").mkdir(mode=0o755)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(f"""
ClusterName=diffq
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=30
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")

    def daemon(self, *command):
        self.processes.append(subprocess.Popen(list(map(str, command)), env=self.environment, start_new_session=True,
                                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))

    def __enter__(self):
        missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
        if missing:
            raise OSError(f"{', '.join(missing)} not installed")
        if os.geteuid() != 0:
            raise OSError("the daemons need root")
        self.write_configuration()
        munge = self.folder / "munge"
        self.daemon("munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key",
                    f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        self.wait(lambda: (munge / "socket").exists())
        self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D")
        self.wait(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"))
        return self

    def __exit__(self, *error):
        self.ask("scancel", "--state=RUNNING,PENDING")
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            for process in self.processes:
                if process.poll() is not None:
                    raise OSError(f"{process.args[0]} has ended: {process.stderr.read()[-500:]}")
            if time.monotonic() > deadline:
                raise OSError("the daemons do not come up: " + self.logs())
            time.sleep(0.2)

    def logs(self):
        return "\n".join((self.folder / name).read_text()[-1500:] for name in ("slurmctld.log", "slurmd.log")
                         if (self.folder / name).exists())

    def ask(self, *command):
        outcome = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return outcome.stdout

    def submit(self, folder, *arguments, launch="mpirun", diffq=None):
        site = {"DIFFQ": str(diffq or program()), "DIFFQ_SLURM": str(SOURCE / "scripts/slurm"), "DIFFQ_LAUNCH": launch}
        outcome = subprocess.run(["sbatch", "--parsable", f"--output={folder}/job-%j.log", *map(str, arguments)], text=True,
                                 env=self.environment | site, capture_output=True, cwd=SOURCE)
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout.strip()

    def state(self, job):
        text = self.ask("scontrol", "show", "job", job)
        fields = dict(word.split("=", 1) for word in text.split() if "=" in word)
        return fields.get("JobState", "UNKNOWN"), int(fields.get("Restarts", 0)), fields.get("ExitCode")

    def wait_for_end(self, folder, job, seconds=400):
        deadline = time.monotonic() + seconds
        while self.state(job)[0] not in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"):
            assert time.monotonic() < deadline, f"{self.state(job)}\n{job_log(folder)}\n{self.logs()}"
            time.sleep(0.5)
        return self.state(job)


def job_log(folder):
    return "\n".join(log.read_text() for log in sorted(folder.glob("job-*.log")))


def completed(folder, job):
    """The number of times that Slurm started the job again before its sweep was done."""
    state, restarts, code = slurm.wait_for_end(folder, job)
    assert (state, code) == ("COMPLETED", "0:0") and restarts >= 1, f"{state} {code}\n{job_log(folder)}"
    return restarts


def assert_told_to_stop(folder):
    # Rank 0 may hear of a signal from its group before its own arrives.
    assert re.search("(SIGUSR2|was told to stop): stopping", job_log(folder)), job_log(folder)


def wait_for_epochs(folder, out, count):
    deadline = time.monotonic() + 120
    while sum(log.read_text().count(" epoch ") for log in out.glob("runs/*/log.txt")) < count:
        assert time.monotonic() < deadline, job_log(folder)
        time.sleep(0.1)


def make(folder, epochs):
    write_data(folder / "data", train=576)
    sweep = write_sweep(folder / "s.json", small_sweep(folder / "data", METHODS, ranks_per_run=2, epochs=epochs))
    expect_code(0, 2, "run", sweep, "--out", folder / "whole", limit=300)
    return sweep, folder / "out"


def check(folder, out, starts):
    compare_sweeps(folder / "whole", out)
    events = read_journal(out)
    assert len(ended(events, "run_done")) == len(METHODS) + 1
    steps = [event["step"] for event in events if event["event"] == "run_started"]
    assert sum(event["event"] == "sweep_started" for event in events) >= starts
    assert any(step > 0 for step in steps), steps
    return sum(step > 0 for step in steps)


def test_requeued_in_mid_run(folder):
    sweep, out = make(folder, epochs=60)
    job = slurm.submit(folder, "--ntasks", 2, "--time", 10, SOURCE / "scripts/slurm/sweep.sh", sweep, out)
    wait_for_epochs(folder, out, 70)
    subprocess.run(["scontrol", "requeue", job], env=slurm.environment, check=True)
    restarts = completed(folder, job)
    print(f"  requeued {restarts} times, {check(folder, out, 2)} runs went on from a checkpoint; identical")


def test_signalled_before_the_time_limit(folder):
    sweep, out = make(folder, epochs=500)
    # Slurm looks at time limits twice a minute, half a minute ahead: the signal comes 5 to 35 s after each start.
    job = slurm.submit(folder, "--ntasks", 2, "--time", 1, "--signal=B:USR2@25", SOURCE / "scripts/slurm/sweep.sh", sweep,
                       out)
    restarts = completed(folder, job)
    print(f"  signalled and requeued by itself {restarts} times, {check(folder, out, 2)} runs went on; identical")


def test_signalled_before_anything_was_written(folder):
    sweep, out = make(folder, epochs=5)
    slow = folder / "slow"
    slow.write_text(f"#!/bin/bash\n[ $1 != run ] || sleep 5\nexec {program()} \"$@\"\n")
    slow.chmod(0o755)
    job = slurm.submit(folder, "--ntasks", 2, "--time", 10, SOURCE / "scripts/slurm/sweep.sh", sweep, out, diffq=slow)
    while slurm.state(job)[0] != "RUNNING":
        time.sleep(0.1)
    time.sleep(1)
    subprocess.run(["scancel", "--batch", "--signal=USR2", job], env=slurm.environment, check=True)
    completed(folder, job)
    compare_sweeps(folder / "whole", out)


def test_started_by_srun(folder):
    sweep, out = make(folder, epochs=60)
    job = slurm.submit(folder, "--ntasks", 2, "--time", 10, SOURCE / "scripts/slurm/sweep.sh", sweep, out, launch="srun")
    wait_for_epochs(folder, out, 70)
    subprocess.run(["scancel", "--batch", "--signal=USR2", job], env=slurm.environment, check=True)
    restarts = completed(folder, job)
    assert_told_to_stop(folder)
    print(f"  signalled, requeued by itself {restarts} times, {check(folder, out, 2)} runs went on; identical")


def test_an_array(folder):
    sweep, out = make(folder, epochs=5)
    job = slurm.submit(folder, "--array", "0-1", "--ntasks", 2, "--time", 10, SOURCE / "scripts/slurm/sweep_array.sh", sweep,
                       out)
    for task in (f"{job}_0", f"{job}_1"):
        state, _, code = slurm.wait_for_end(folder, task)
        assert (state, code) == ("COMPLETED", "0:0"), f"{state} {code}\n{job_log(folder)}"
    done = [set(ended(read_journal(out / f"shard-{i}"), "run_done")) for i in (0, 1)]
    assert done[0] | done[1] == set(ended(read_journal(folder / "whole"), "run_done")) and not done[0] & done[1], done


slurm = Slurm()
try:
    slurm.__enter__()
except OSError as error:
    slurm.__exit__()
    print(f"skipped: Slurm's daemons cannot be started here: {error}")
    sys.exit(SKIPPED)
try:
    run_tests([test_requeued_in_mid_run, test_signalled_before_the_time_limit, test_signalled_before_anything_was_written,
               test_started_by_srun, test_an_array])
finally:
    slurm.__exit__()
