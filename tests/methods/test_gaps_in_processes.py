"""Two processes whose batches miss different sensors take the step that one process would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gaps_processes import contracts

HOUSE = Path(__file__).parents[2]
Told = dict[str, tuple[float, float]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    """What both processes found of each method."""
    out = tmp_path_factory.mktemp("gaps")
    words = [sys.executable, "-W", "ignore", "-m", "tests.support.gaps_processes"]
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    started = []
    for rank in "01":
        place = [rank, str(out / "meeting"), str(out)]
        started.append(subprocess.Popen([*words, *place], cwd=HOUSE, env=environment))
    assert [process.wait(timeout=600) for process in started] == [0, 0]
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_every_method_takes_the_mean_of_both_processes_gradients(told: list[Told]) -> None:
    # GEMMNet's two updates in turn have a test of their own
    turns = {"GEMMNet"}
    for found in told:
        assert found.keys() == contracts().keys() - turns
        for name, (distance, own) in found.items():
            assert distance < 1e-5, name
            assert own > 1e-3, f"{name}: both processes have one gradient, which proves nothing"
