"""Regret against networks that were trained for exactly the sensors at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard.write import publish_leaderboard
from benchmark.records.record import Record, read_record, write_record
from benchmark.records.selection import RecordSelection, part_specialists
from tests.support.toy_records import toy_manifest, toy_result

SENSORS = {"rgb": "R", "dsm": "D", "nir": "N"}


def make_record(
    path: Path, variant: str, seed: int, skill: float, letters: str, *typed: str
) -> Record:
    names = {name: letter for name, letter in SENSORS.items() if letter in letters}
    words = {"modalities": names, "group": f"{variant}-{letters}", "control": variant == "control"}
    words |= {"overrides": list(typed), "group": f"{variant}-{letters}-{typed}"}
    manifest = toy_manifest(variant, seed, **words)
    write_record(path, manifest, toy_result(skill, seed, list(letters)))
    return read_record(path)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    found = []
    for variant, skill in (("sgma", 0.7), ("control", 0.5)):
        for seed in (0, 1):
            found.append(make_record(tmp_path / f"{variant}{seed}", variant, seed, skill, "RDN"))
    for letters in ("R", "RD"):
        for seed in (0, 1):
            place = tmp_path / f"own-{letters}{seed}"
            found.append(make_record(place, "control", seed, 0.9, letters))
    return found


def full_scores(records: list[Record], subset: str) -> np.ndarray:
    return np.array([100 * record.scores()[subset].miou for record in records])


def test_regret_is_the_specialists_mean_less_the_score(
    records: list[Record], tmp_path: Path
) -> None:
    kept, specialists = part_specialists(records)
    assert len(kept) == 4 and len(specialists) == 4
    selection = RecordSelection(kept, specialists=specialists)
    publish_leaderboard("toy", selection, tmp_path)
    frame = pd.read_csv(tmp_path / "toy.regret.csv").set_index(["method", "subset"])
    sgma, control = kept[:2], kept[2:]
    own = {"R": specialists[:2], "R+D": specialists[2:], "R+D+N": control}
    for subset, members in own.items():
        best = full_scores(members, subset).mean()
        regrets = best - full_scores(sgma, subset)
        line = frame.loc["sgma", subset]
        assert line["specialist"] == pytest.approx(best, abs=1e-3)
        assert line["regret"] == pytest.approx(regrets.mean(), abs=1e-3)
        assert line["regret std"] == pytest.approx(regrets.std(ddof=1), abs=1e-3)
    assert np.isnan(frame.loc["sgma", "N"]["regret"])
    # what is no row of the leaderboard itself
    board = pd.read_csv(tmp_path / "toy.csv")
    assert sorted(board["method"]) == ["control", "sgma"]


def test_a_table_of_fewer_sensors_has_no_specialists(tmp_path: Path) -> None:
    records = [make_record(tmp_path / str(s), "control", s, 0.6, "RD") for s in (0, 1)]
    kept, specialists = part_specialists(records)
    assert kept == records and not specialists
    publish_leaderboard("toy", RecordSelection(kept), tmp_path)
    assert not (tmp_path / "toy.regret.csv").exists()


def test_a_longer_training_stands_beside_specialists_that_had_it(
    records: list[Record], tmp_path: Path
) -> None:
    longer = ("--trainer.max_steps", "1500")
    made = make_record(tmp_path / "long", "sgma", 0, 0.9, "RDN", *longer)
    kept, specialists = part_specialists([*records, made])
    publish_leaderboard("toy", RecordSelection(kept, specialists=specialists), tmp_path)
    frame = pd.read_csv(tmp_path / "toy.regret.csv")
    assert frame["overrides"].isna().all()

    own = make_record(tmp_path / "long own", "control", 0, 0.95, "R", *longer)
    selection = RecordSelection(kept, specialists=[*specialists, own])
    publish_leaderboard("toy", selection, tmp_path)
    frame = pd.read_csv(tmp_path / "toy.regret.csv").set_index(["overrides", "subset"])
    line = frame.loc["trainer.max_steps=1500", "R"]
    expected = full_scores([own], "R")[0] - full_scores([made], "R")[0]
    assert line["regret"] == pytest.approx(expected, abs=1e-3)
