"""The archive of scripts/bundle.sh on a bare machine: a root made by debootstrap, without the build tree, into which only the
torch wheel and CUDA's libraries are bound. Run by hand, as it fetches a system:

  .venv/bin/python tests/cluster/bundle.py out/diffq-bundle.tar.xz [FOLDER OF THE BARE ROOT, kept for the next time]

77: needs root, debootstrap and Debian's packages."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests/mpi"))
from sweep_tools import read_table, small_sweep, write_data, write_sweep  # noqa: E402

SKIPPED = 77
SITE = next((PROJECT / ".venv").resolve().glob("lib/python3*/site-packages"))
CUDA = Path("/usr/local/cuda").resolve()
THERE = "/usr/lib/python3/dist-packages"  # where Debian's Python looks
# torch and what it needs: whole folders, so that its own relative paths hold.
BOUND = {SITE / "torch": f"{THERE}/torch", SITE / "nvidia": f"{THERE}/nvidia", CUDA: "/usr/local/cuda"}


def make_root(root):
    if (root / "complete").exists():
        return
    if os.getuid() != 0 or not shutil.which("debootstrap"):
        print("skipped: needs root and debootstrap")
        sys.exit(SKIPPED)
    made = subprocess.run(["debootstrap", "--variant=minbase", "--include=python3-minimal,xz-utils", "bookworm", str(root)],
                          capture_output=True, text=True)
    if made.returncode != 0:
        print(f"skipped: debootstrap: {made.stdout[-500:]}{made.stderr[-500:]}")
        sys.exit(SKIPPED)
    (root / "complete").touch()


def inside(root, command, bound=BOUND, limit=600):
    """In the root, with mounts that end with the command."""
    mounts = [f"mount -t proc proc {root}/proc", f"mount -t sysfs sys {root}/sys", f"mount --bind /dev {root}/dev", f"mount -t tmpfs tmpfs {root}/dev/shm"]
    for folder, place in bound.items():
        mounts += [f"mkdir -p {root}{place}", f"mount --bind {folder} {root}{place}"]
    script = "set -e; " + "; ".join(mounts) + f'; exec chroot {root} /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root sh -c "$1"'
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", command],
                          capture_output=True, text=True, timeout=limit)
    print(f"$ {command}: {done.returncode}")
    return done


def expect(done, code=0):
    assert done.returncode == code, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def main():
    archive = Path(sys.argv[1]).resolve()
    size = archive.stat().st_size / 2**20
    assert size <= 60, size
    root = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else Path(tempfile.mkdtemp(prefix="diffq-root-"))
    try:
        make_root(root)
        shutil.rmtree(root / "opt/diffq-bundle", ignore_errors=True)
        subprocess.run(["tar", "-C", str(root / "opt"), "-xf", str(archive)], check=True)
        assert not (root / PROJECT.relative_to("/")).exists(), "no build tree"

        for program in (root / "opt/diffq-bundle/build").rglob("*"):
            if program.is_file():
                assert str(PROJECT) not in subprocess.run(["readelf", "-d", str(program)], capture_output=True, text=True).stdout
        without = inside(root, "/opt/diffq-bundle/bin/diffq --version", bound={})
        assert without.returncode == 1 and "python3 has no torch; install torch " in without.stderr, without
        print(" ", expect(inside(root, "/opt/diffq-bundle/bin/diffq --version")).strip())

        bundle = "cd /opt/diffq-bundle && bin/mpirun -q --oversubscribe --bind-to none -n 2"
        expect(inside(root, f"{bundle} build/tests/mpi/nccl_tests"))
        data = root / "tmp/data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(root / "tmp/out", ignore_errors=True)
        write_data(data)
        methods = [{"method": "fp32"}, {"method": "diffq", "lambda": 1, "group_size": 4}]
        write_sweep(root / "tmp/s.json", small_sweep("/tmp/data", methods, ranks_per_run=2, epochs=1))
        expect(inside(root, f"{bundle} bin/diffq run /tmp/s.json --out /tmp/out"))
        rows = read_table(root / "tmp/out/results.h5", "runs")
        assert [row["status"] for row in rows] == ["done", "done"], rows
        expect(inside(root, "/opt/diffq-bundle/bin/diffq verify --deep /tmp/out"))

        inside(root, "/opt/diffq-bundle/run-gpu-checks.sh /tmp/report.txt", limit=3600)
        report = (root / "tmp/report.txt").read_text()
        summary = report[report.index("== Summary"):]
        print(summary)
        assert "communicator's logic, 2 ranks" in summary and "test gpu_" in summary, summary
        print(f"{archive.name}: {size:.1f} MiB, starts in a bare root")
    finally:
        if len(sys.argv) <= 2:
            shutil.rmtree(root, ignore_errors=True)


main()
