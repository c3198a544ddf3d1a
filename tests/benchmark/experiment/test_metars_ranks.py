"""MetaRS in two processes is MetaRS in one: what it gathers, what it becomes, how it is scored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def ended(many_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What trainings and evaluations by one and by two processes leave."""
    out = tmp_path_factory.mktemp("ranks")
    # a process of its own: what forks must not have used OpenMP before
    words = [sys.executable, "-m", "tests.support.metars_processes", str(many_stores), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_two_ranks_train_what_one_process_does_that_accumulates_two_batches(ended: Path) -> None:
    names = ("trained-by-1-rank0", "trained-by-2-rank0", "trained-by-2-rank1")
    one, *ranks = [torch.load(ended / f"{name}.pt", weights_only=True) for name in names]
    assert len(one["masks"]) == 3
    for name, mask in one["masks"].items():
        # some covariances, not all above the diagonal
        pairs = len(mask) * (len(mask) - 1) // 2
        assert 0 < mask.sum() < pairs
        assert all(torch.equal(mask, rank["masks"][name]) for rank in ranks)
        assert all(torch.equal(mask, rank["state"][f"whitening.{name}"]) for rank in ranks)
    for name in one["parameters"]:
        # halves of gradients and their sum: the same bits
        assert all(torch.equal(one["state"][name], rank["state"][name]) for rank in ranks), name


def test_two_ranks_count_what_one_does(ended: Path) -> None:
    one, two = (dict(np.load(ended / f"scored-by-{number}.npz")) for number in (1, 2))
    assert one.keys() == two.keys() and len(one) == 3
    assert all(np.array_equal(counts, two[scene]) for scene, counts in one.items())
