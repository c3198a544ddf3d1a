"""Dossier check 10 with whole networks: python -m tests.support.smoke_m3l
m3l|m3l_any_subset|m3l_block [seed].

The task, budget and backbone are those of `smoke_sgma`. Some minutes per row, so it is run by hand;
what counts is that
R alone comes near R+D+N in every row. A collapse points to a fault in masking, tokens or fusion.
"""

from __future__ import annotations

from methods.m3l.module import M3L
from tests.support.smoke_sgma import run_row

VARIANTS = {
    "m3l": {},
    "m3l_any_subset": {"subsets": "any_subset"},
    "m3l_block": {"fusion": "block"},
}


if __name__ == "__main__":
    run_row(M3L, VARIANTS)
