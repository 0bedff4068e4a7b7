"""Two hosts on one machine: two network namespaces joined by a pair of virtual cards. A run across both gives the losses of
one host; when the link is cut in mid-run every rank names the missing host and ends; when it is back the same command
completes the sweep. Needs root and the right to make namespaces; skipped with a line that says so elsewhere."""

import os
import re
import subprocess
import sys
import time

from sweep_tools import (children, compare_sweeps, environment, ended, expect_code, kill_all, program, read_journal, run_tests,
                         small_sweep, write_data, write_sweep)

DEADLINE = 6
NAMES = ["diffq-host-a", "diffq-host-b"]
ADDRESSES = ["10.77.0.1", "10.77.0.2"]
SKIPPED = 77


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def remove_hosts():
    for name in NAMES:
        ip("netns", "del", name, check=False)


def make_hosts():
    remove_hosts()
    for name in NAMES:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    ip("link", "add", "dqa", "netns", NAMES[0], "type", "veth", "peer", "name", "dqb", "netns", NAMES[1])
    for name, card, address in zip(NAMES, ("dqa", "dqb"), ADDRESSES):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
        ip("-n", name, "link", "set", card, "up")


def set_link(state):
    ip("-n", NAMES[1], "link", "set", "dqb", state)


def write_agent(folder):
    """What mpirun calls instead of ssh: AGENT HOST COMMAND…, in the other namespace under another host name."""
    agent = folder / "agent.sh"
    agent.write_text(f"""#!/bin/sh
shift
exec ip netns exec {NAMES[1]} unshare --uts sh -c 'hostname hostb; exec "$@"' sh sh -c "$*"
""")
    agent.chmod(0o755)
    return agent


def start(folder, sweep, out, ranks_per_host):
    # Tests start mpirun in its own namespace of processes, so that nothing survives the test.
    net = f"{ADDRESSES[0].rsplit('.', 1)[0]}.0/24"
    command = ["ip", "netns", "exec", NAMES[0], "unshare", "--uts", "sh", "-c", 'hostname hosta; exec "$@"', "sh",
               "mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(2 * ranks_per_host),
               "--host", ",".join(f"{address}:{ranks_per_host}" for address in ADDRESSES), "--map-by", "slot",
               "--mca", "plm_rsh_agent", str(write_agent(folder)), "--mca", "btl", "tcp,self",
               "--mca", "btl_tcp_if_include", net, "--mca", "oob_tcp_if_include", net, "-x", "OMP_NUM_THREADS",
               str(program()), "run", str(sweep), "--out", str(out), "--host-deadline", str(DEADLINE)]
    log = open(folder / "log.txt", "w+")
    process = subprocess.Popen(command, env=environment(), start_new_session=True, stdout=log, stderr=log, text=True)
    process.log = log
    return process


def text_of(process):
    process.log.flush()
    return open(process.log.name).read()


def ranks_alive():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{pid}/cmdline").read().split("\0")
        except OSError:
            continue
        if command[0] == str(program()) and "--host-deadline" in command:
            found.append(int(pid))
    return found


def test_two_hosts(folder):
    write_data(folder / "data", train=576)
    methods = [{"method": "fp32"}, {"method": "diffq", "lambda": 1, "group_size": 4}]
    sweep = write_sweep(folder / "s.json", small_sweep(folder / "data", methods, ranks_per_run=2, epochs=30))
    expect_code(0, 2, "run", sweep, "--out", folder / "whole")
    process = start(folder, sweep, folder / "both", ranks_per_host=1)
    assert process.wait(timeout=120) == 0, text_of(process)
    compare_sweeps(folder / "whole", folder / "both")
    print("  one run across two hosts: the losses and models of one host")

    out = folder / "cut"
    process = start(folder, sweep, out, ranks_per_host=1)
    deadline = time.monotonic() + 60
    while not any(log.read_text().count(" epoch ") >= 3 for log in out.glob("runs/*/log.txt")):
        assert process.poll() is None and time.monotonic() < deadline, text_of(process)
        time.sleep(0.05)
    assert len(ranks_alive()) == 2
    set_link("down")
    cut = time.monotonic()
    while ranks_alive() and time.monotonic() - cut < DEADLINE + 30:
        time.sleep(0.1)
    seconds = time.monotonic() - cut
    text = text_of(process)
    kill_all(process)  # mpirun waits long for its daemon on the lost host: job scripts use `timeout -k`
    for pid in ranks_alive():
        os.kill(pid, 9)
    assert seconds < DEADLINE + 10, f"{seconds:.1f} s after the cut\n{text}"
    # What the rank behind the cut prints can't reach mpirun.
    told = (out / "lost_hosts.txt").read_text()
    named = dict(re.findall(r"\[rank (\d)/2 host.\] host (\S+) \(rank", told))
    print(f"  link cut: all ranks had ended after {seconds:.1f} s (deadline {DEADLINE} s); named: {named}")
    assert named == {"0": "hostb", "1": "hosta"}, told
    assert "diffq: error: [rank 0/2 hosta] host hostb" in text, text
    set_link("up")

    process = start(folder, sweep, out, ranks_per_host=1)
    assert process.wait(timeout=120) == 0, text_of(process)
    assert any(event.get("step", 0) > 0 for event in read_journal(out)), "it went on from a checkpoint"
    compare_sweeps(folder / "whole", out)


try:
    make_hosts()
except (OSError, subprocess.CalledProcessError) as error:
    print(f"skipped: no network namespaces can be made here: {getattr(error, 'stderr', '') or error}".strip())
    sys.exit(SKIPPED)
try:
    run_tests([test_two_hosts])
finally:
    remove_hosts()
