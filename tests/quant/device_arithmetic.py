"""What the compiler made of the GPU's kernels, for want of a GPU: only arithmetic that IEEE 754 rounds once, nothing contracted
that the CPU does in two steps, and no kernel that spills its registers into memory.

usage: device_arithmetic.py NVCC SOURCE_DIR FILE.cu…
"""
import re
import subprocess
import sys
import tempfile

NVCC, SOURCE, FILES = sys.argv[1], sys.argv[2], sys.argv[3:]
FLAGS = ["-std=c++17", "-O3", "--fmad=false", f"-I{SOURCE}"]


def compiled(file, *flags):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        done = subprocess.run([NVCC, *FLAGS, *flags, f"{SOURCE}/{file}", "-o", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return open(out, "rb").read().decode(errors="replace"), done.stderr


GUESSES = (("rsqrt.approx.ftz.f32", r"Noise|PullBack(?!Scale)|CutGroups"),
           ("rcp.approx.ftz.f32", r"Noise|PullBack(?!Scale)|CutGroups|SizeGradient|ClipEnds"))
OPERATION = r"^\s+(?:@\S+\s+)?((?:add|sub|mul|fma|mad|div|rcp|sqrt|rsqrt|ex2|lg2|sin|cos)\.\S*f(?:32|64))\s"


def is_wrong(operation):
    # An fma of doubles would be one that the compiler made.
    return ".rn." not in operation or "ftz" in operation or operation.startswith("mad") or operation == "fma.rn.f64"


def check(file):
    ptx, _ = compiled(file, "-ptx", "-arch=sm_80")
    functions = re.split(r"^(?=\.visible|\.weak|\.entry|\.func)", ptx, flags=re.M)
    # Judge alone calls pow, which CUDA's library makes of anything it likes.
    ours = [text for text in functions if not re.search(r"Judge|pow", text.split("{")[0])]
    operations = [operation for text in ours for operation in re.findall(OPERATION, text, re.M)
                  # The guesses that sqrt and reciprocal (lanes_one.h) make exact; of normal numbers, which the noise's radii
                  # and the groups' levels are.
                  if not any(operation == guess and re.search(kernels, text.split("{")[0]) for guess, kernels in GUESSES)]
    assert len(ours) > 3 and operations, "no arithmetic found"
    wrong = sorted(set(filter(is_wrong, operations)))
    assert not wrong, f"{file}: {wrong}"
    for arch in ("sm_80", "sm_90"):
        _, report = compiled(file, "-cubin", f"-arch={arch}", "-Xptxas", "-v")
        spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
        assert spills and all(pair == ("0", "0") for pair in spills), f"{file}, {arch}: {spills}"
    print(f"{file}: {len(operations)} operations, {len(spills)} kernels")


for file in FILES:
    check(file)
