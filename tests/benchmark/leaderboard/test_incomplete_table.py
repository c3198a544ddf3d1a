"""Beside the leaderboard: what each method loses where training scenes lack sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard.incomplete import pair_trainings
from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.write import write_leaderboard
from benchmark.records.groups import seed_groups
from benchmark.records.record import Record
from tests.support.toy_records import PROTOCOL, hash_of, toy_record, toy_result

GAPS = {"rgb": 0.1, "dsm": 0.5}


def settings(protocol: str, seed: int = 0, width: int = 64, **data: Any) -> dict[str, Any]:
    """A configuration as a manifest keeps it."""
    return {
        "seed_everything": seed,
        "cell": {"method": "m", "protocol": protocol, "compile": "none"},
        "trainer": {"max_steps": 300, "logger": None},
        "model": {"class_path": "a.B", "init_args": {"width": width, "seed": seed}},
        "data": {"class_path": "c.D", "init_args": {"window": 128, "seed": seed, **data}},
    }


def record(root: Path, variant: str, protocol: str, seed: int, **options: Any) -> Record:
    config = settings(protocol, seed, **options)
    name = f"{variant}-{protocol}-{options}"
    return toy_record(
        root / protocol / str(hash_of(name)),
        variant,
        seed,
        toy_result(0.4 + hash_of(name) % 50 / 100, seed),
        protocol=PROTOCOL.model_copy(update={"name": protocol}),
        identity=f"{hash_of(name)}-{seed}",
        group=str(hash_of(name)),
        config=config,
    )


def test_pairs_differ_in_gaps_alone_and_share_their_seeds(tmp_path: Path) -> None:
    records = [record(tmp_path, "one", "standard", seed) for seed in (0, 1, 2)]
    records += [record(tmp_path, "one", "incomplete", seed, gap_rates=0.3) for seed in (1, 2, 5)]
    records += [record(tmp_path, "one", "imbalanced", 0, gap_rates=GAPS, gap_seed=4)]
    # of another width, of another method, and without a seed in common
    records += [record(tmp_path, "one", "incomplete", 0, width=32, gap_rates=0.3)]
    records += [record(tmp_path, "two", "incomplete", 0, gap_rates=0.3)]
    records += [record(tmp_path, "three", "standard", 0)]
    records += [record(tmp_path, "three", "incomplete", 1, gap_rates=0.3)]
    pairs = pair_trainings(seed_groups(records))
    found = []
    for pair in pairs:
        rows = (pair.complete, pair.incomplete)
        seeds = [[one.manifest.seed for one in row.group.members] for row in rows]
        found.append((*(row.protocol.name for row in rows), pair.gaps, seeds))
    assert found == [
        ("standard", "imbalanced", "rgb 0.1, dsm 0.5", [[0], [0]]),
        ("standard", "incomplete", "0.3", [[1, 2], [1, 2]]),
    ]


def test_numbers_are_those_of_the_records(tmp_path: Path) -> None:
    whole = [record(tmp_path, "one", "standard", seed) for seed in (0, 1, 2)]
    gaps = [record(tmp_path, "one", "incomplete", seed, gap_rates=0.3) for seed in (0, 1)]
    rows = leaderboard_rows(seed_groups([*whole, *gaps]))
    paths = write_leaderboard("toy", rows, [], tmp_path / "out")
    assert [path.name for path in paths[-3:]] == [
        f"toy.incomplete.{kind}" for kind in ("csv", "md", "tex")
    ]
    (line,) = pd.read_csv(tmp_path / "out" / "toy.incomplete.csv").to_dict("records")
    assert (line["method"], line["protocol"], line["complete"]) == ("one", "incomplete", "standard")
    assert line["seeds"] == 2 and line["gaps"] == 0.3

    def miou(one: Record, subset: str) -> float:
        return 100 * one.scores()[subset].miou

    subsets = whole[0].subsets
    for name in ("Average", *subsets):
        wanted = subsets if name == "Average" else [name]
        before, after = (
            [np.mean([miou(one, subset) for subset in wanted]) for one in side]
            for side in (whole[:2], gaps)
        )
        changes = [after[0] - before[0], after[1] - before[1]]
        for kind, values in (("complete", before), ("incomplete", after), ("change", changes)):
            assert line[f"{name} {kind}"] == pytest.approx(sum(values) / 2, abs=6e-5)
            spread = abs(values[0] - values[1]) / np.sqrt(2)
            assert line[f"{name} {kind} std"] == pytest.approx(spread, abs=6e-5)
    page = (tmp_path / "out" / "toy.incomplete.md").read_text()
    change = line["Average change"]
    assert f"| {change:.2f} +- {line['Average change std']:.2f} |" in page
    # the leaderboard itself has a row for each
    board = pd.read_csv(tmp_path / "out" / "toy.csv")
    assert sorted(board["protocol"]) == ["incomplete", "standard"]


def test_without_both_trainings_there_is_no_table(tmp_path: Path) -> None:
    gaps = [record(tmp_path, "one", "incomplete", 0, gap_rates=0.3)]
    paths = write_leaderboard("toy", leaderboard_rows(seed_groups(gaps)), [], tmp_path / "out")
    assert not [path for path in paths if "incomplete" in path.name]
