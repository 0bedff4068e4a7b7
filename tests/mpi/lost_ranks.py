"""A rank of a group on GPUs (the stand-in's) that is held up: every rank says where it is, the one that is behind is named,
and the whole job ends within seconds of the deadline, although the rank itself does not come to its end."""

import re
import sys

from sweep_tools import launch, run_tests

RANKS = int(sys.argv[2])
LAST = RANKS - 1


def lose(folder, fault, code):
    outcome = launch(RANKS, fault, folder / "lost_ranks.txt", limit=60)
    assert outcome.code == code, outcome
    assert outcome.seconds < 2 + 15, outcome
    errors = [line for line in outcome.err.splitlines() if line.startswith("diffq: error: ")]
    places = dict(re.findall(r"^diffq: \[rank (\d+)/\d+ host0\] its last collective is (\{.*?\})", outcome.err, re.M))
    recorded = (folder / "lost_ranks.txt").read_text().splitlines()
    print("  ", errors[0])
    assert {line.split(" ", 1)[1] for line in recorded} == {error.removeprefix("diffq: error: ") for error in errors}
    return errors, {int(rank): place for rank, place in places.items()}


def test_a_rank_that_sleeps(folder):
    errors, places = lose(folder, "asleep", 75)
    assert set(places) == set(range(RANKS)), places
    assert places.pop(LAST) == "{seq 6, op all-reduce, bytes 256, bucket 0}"
    assert set(places.values()) == {"{seq 7, op all-reduce, bytes 256, bucket 0}"}
    for error in errors:
        assert re.search(rf"\{{seq 7, .*\}} has not ended within 2 s; rank {LAST}/{RANKS} host0 is behind: its last is "
                         r"\{seq 6, op all-reduce, bytes 256, bucket 0\}, its GPU has come to seq 6$", error), error


def test_a_rank_that_is_suspended(folder):
    errors, places = lose(folder, "suspended", 75)
    places.pop(LAST, None)  # mpirun wakes it up to end it
    assert set(places) == set(range(LAST)), places
    for error in errors:
        assert f"rank {LAST}/{RANKS} host0 is behind: it gives no answer" in error, error


def test_a_rank_that_can_not_start(folder):
    errors, _ = lose(folder, "start", 70)
    assert f"[rank {LAST}/{RANKS} host0] ncclCommInitRankConfig: unhandled system error" in errors[0], errors


run_tests([test_a_rank_that_sleeps, test_a_rank_that_is_suspended, test_a_rank_that_can_not_start])
