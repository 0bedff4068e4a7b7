"""Runs a program on some ranks, with a time limit: under_mpirun.py PROGRAM RANKS."""

import sys

from sweep_tools import launch

outcome = launch(int(sys.argv[2]), limit=120)
print(outcome)
sys.exit(outcome.code)
