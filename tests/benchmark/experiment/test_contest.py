"""A protocol that names what is at hand at test: what is scored, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from benchmark import choices
from benchmark.evaluation import MissingModalityEvaluation
from benchmark.experiment.identity import identify_config
from benchmark.records.record import read_record
from tests.benchmark.experiment.test_bench import bench, only_run
from tests.benchmark.experiment.test_cli import parse
from usererror import UserError

DATA: Any = SimpleNamespace(
    name="town",
    modalities={"rgb": 0, "dsm": 0, "sar": 0},
    letters={"rgb": "R", "dsm": "D", "sar": "S"},
)


def test_radar_only_is_the_standard_protocol_but_for_what_is_scored() -> None:
    folder = choices.CONFIGS / "protocol"
    mine, standard = (
        yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("radar_only", "standard")
    )
    assert mine["evaluation"].pop("subsets") == ["S"]
    mine["cell"]["protocol"] = "standard"
    assert mine == standard


def test_identities_without_named_subsets_are_those_of_before() -> None:
    plain = parse("control", "dfc2023_miniature")
    assert "subsets" not in plain["evaluation"]
    before = identify_config(plain, "f")
    plain["evaluation"]["subsets"] = None
    assert identify_config(plain, "f") == before
    named = identify_config(parse("control", "dfc2023_miniature", "radar_only"), "f")
    words = ("--evaluation.subsets", "[S]")
    typed = identify_config(parse("control", "dfc2023_miniature", "standard", 0, *words), "f")
    assert len({before, named, typed}) == 3 and len({before[1], named[1], typed[1]}) == 3


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["S"], {"S": ("sar",)}),
        (["S+R", "D"], {"D": ("dsm",), "R+S": ("rgb", "sar")}),
        (["R+D+S"], {"R+D+S": ("rgb", "dsm", "sar")}),
    ],
)
def test_subsets_are_named_as_in_tables(asked: list[str], found: dict[str, tuple]) -> None:
    cases = MissingModalityEvaluation(subsets=asked).cases(DATA)
    assert list(cases.items()) == list(found.items())
    assert len(MissingModalityEvaluation().cases(DATA)) == 7


@pytest.mark.parametrize(
    ("asked", "text"), [(["S", "X"], "subsets X, but town"), (["sar"], "sar"), ([], "none")]
)
def test_a_subset_that_the_data_has_not(asked: list[str], text: str) -> None:
    with pytest.raises(UserError, match=rf"{text}.* has the sensors R\+D\+S"):
        MissingModalityEvaluation(subsets=asked).cases(DATA)


def test_training_is_the_same_and_the_counts_are_those_of_the_named_subsets(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Last weights, so that nothing but what is scored differs."""
    words = ["--trainer.max_steps", "2", "--cell.selection", "last"]
    records = {}
    for name, more in {"all": [], "some": ["--evaluation.subsets", "[N, D+R]"]}.items():
        assert bench(tiny_stores, tmp_path / name / "runs", *words, *more) == 0
        records[name] = read_record(only_run(tmp_path / name / "runs") / "record")
    some, every = records["some"], records["all"]
    assert some.subsets == ("N", "R+D") and some.manifest.scores_some
    assert not every.manifest.scores_some
    for place, subset in enumerate(some.subsets):
        np.testing.assert_array_equal(some.counts[place], every.counts[every.subsets.index(subset)])
    assert some.scored.sum() == 2 * every.scored[0].sum()
    folder = tmp_path / "some" / "leaderboards"
    assert (folder / "tiny.contests.md").exists() and not (folder / "tiny.md").exists()
    shown = capsys.readouterr().out
    assert "2 subsets of R+D+N" in shown and "7 subsets of R+D+N" in shown


def test_a_sensor_that_the_data_lacks_is_said_before_training(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert bench(tiny_stores, tmp_path / "runs", "--protocol", "radar_only") != 0
    assert "scores the subsets S, but tiny has the sensors R+D+N" in capsys.readouterr().err
