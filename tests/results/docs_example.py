"""Runs what docs/results.md shows, on a sample sweep, and checks that all of it was read.

Arguments: the program that writes the sample (write_sample_sweep.cpp), docs/results.md.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import h5py

TABLES = ["runs", "epochs", "layers", "tracks", "environment", "sweeps"]


def examples(text, language):
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    assert found, f"no example in {language}"
    return found


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, (command, done.stderr)
    return done.stdout


def rows_of_dump(path):
    """h5dump writes a compound as (INDEX): { ... }."""
    return len(re.findall(r"^\s*\(\d+\): \{", path.read_text(), re.M))


def main():
    text = pathlib.Path(sys.argv[2]).read_text()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        out = folder / "out/mine"
        out.mkdir(parents=True)
        subprocess.run([sys.argv[1], out], check=True)
        with h5py.File(out / "results.h5") as file:
            assert sorted(file) == sorted(TABLES), "another table: is it in docs/results.md?"
            counts = {table: len(file[table]) for table in TABLES}
            columns = {table: file[table].dtype.names for table in TABLES}
        for table, row in zip(TABLES, re.findall(r"^\| `/(.*)$", text, re.M)):
            assert row.startswith(table), row
            missing = [column for column in columns[table] if not re.fullmatch(r"bits_\d+", column) and column not in row]
            assert not missing, f"{missing} of /{table} are not in docs/results.md"

        for program in examples(text, "python"):
            output = run([sys.executable, "-c", program], folder)
            assert "diffq" in output and "block1.conv.weight" in output and "train_loss" in output, output
        output = "".join(run(["bash", "-euc", script], folder) for script in examples(text, "sh"))
        for table in TABLES:
            assert re.search(rf"^{table}\s+Dataset \{{{counts[table]}\}}", output, re.M), output
            assert rows_of_dump(folder / f"{table}.txt") == counts[table], table
        for column in columns["runs"]:
            assert f'"{column}"' in output, (column, output)
    print("docs/results.md: its examples run and read all tables")


main()
