"""The King James Bible as words: the text that Debian's bible program prints, on standard input, becomes OUT/train.txt,
valid.txt and test.txt, the first 90 %, the next 5 % and the last 5 % of its characters. Words are in lower case; the marks
.,;:?! are words of their own; a line is a verse.

usage: make_kjv.py OUT
"""
import pathlib
import re
import sys

text = "".join(line.split(" ", 1)[1] for line in sys.stdin)  # without the verse's name
ends = [0, int(0.9 * len(text)), int(0.95 * len(text)), len(text)]
out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True)
for name, begin, end in zip(("train", "valid", "test"), ends, ends[1:]):
    lines = (" ".join(re.findall(r"[a-z']+|[.,;:?!]", line)) for line in text[begin:end].lower().splitlines())
    (out / f"{name}.txt").write_text("".join(line + "\n" for line in lines if line))
