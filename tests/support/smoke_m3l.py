"""Dossier check 10 with whole networks: python -m tests.support.smoke_m3l
m3l|m3l_any_subset|m3l_block [seed].

The task, budget and backbone are those of `smoke_sgma`. Some minutes per row, so it is run by hand;
what counts is that
R alone comes near R+D+N in every row. A collapse points to a fault in masking, tokens or fusion.
"""

from __future__ import annotations

import sys

import torch

from methods.m3l.module import M3L
from tests.support.smoke_sgma import CLASSES, SIGNAL, Task, report, train_and_score

VARIANTS = {
    "m3l": {},
    "m3l_any_subset": {"subsets": "any_subset"},
    "m3l_block": {"fusion": "block"},
}


def main(variant: str, seed: int) -> None:
    """Train and report one row."""
    task = Task(seed)
    torch.manual_seed(seed)
    options = VARIANTS[variant]
    model = M3L(
        dict.fromkeys(SIGNAL, 3),
        CLASSES,
        backbone="pvt_v2_b0",
        pretrained=False,
        head_width=64,
        **options,
    )  # type: ignore[arg-type]
    report(variant, seed, train_and_score(model, task))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
