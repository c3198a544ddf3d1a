"""Records: written whole or not at all, read back as written, damaged ones named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.metrics.confusion import Convention
from benchmark.metrics.result import EvaluationResult
from benchmark.records.manifest import MANIFEST, Manifest
from benchmark.records.record import (
    SCENES,
    SUMMARY,
    publish_record,
    read_record,
    read_scenes,
    search_records,
    write_record,
)
from tests.support.toy_records import toy_manifest
from usererror import UserError

OWN = Convention((0, 1), (0, 1), (2,))
LABELS = ("ground", "building", "clutter")


def result(seed: int = 0) -> EvaluationResult:
    rng = np.random.default_rng(seed)
    counts = [rng.integers(0, 1000, (3, blocks, 2, 3, 2)) for blocks in (1, 4)]
    return EvaluationResult(
        subsets=("R", "D", "R+D"),
        scenes=("a", "b"),
        conditions={"b": ["weather=night"]},
        regions=("interior", "band"),
        labels=LABELS,
        counts=counts,
        scored=np.ones((3, 2), bool),
    )


def manifest(**changes: Any) -> Manifest:
    fields = {"identity": "i0", "created": "2026-01-01T00:00:00+00:00", "convention": OWN}
    return toy_manifest("sgma", **{**fields, **changes})


def test_what_is_read_is_what_was_counted(tmp_path: Path) -> None:
    write_record(tmp_path / "r", manifest(), result())
    record = read_record(tmp_path / "r")
    expected = [sum(counts.sum(1)[subset] for counts in result().counts) for subset in range(3)]
    assert record.conditions == ("all", "weather=night")
    assert np.array_equal(record.counts[:, 0], expected)
    assert np.array_equal(record.counts[:, 1], result().counts[1].sum(1))
    assert record.scored.tolist() == [[2, 1]] * 3
    with np.load(tmp_path / "r" / "scenes.npz") as scenes:
        assert scenes["counts_1"].dtype == np.uint32
        assert np.array_equal(scenes["counts_1"], result().counts[1])


def test_eroded_scores_are_a_reread_of_the_interior(tmp_path: Path) -> None:
    interior = replace(OWN, regions=("interior",))
    write_record(tmp_path / "r", manifest(convention=interior), result())
    own = result().scores(interior)
    assert read_record(tmp_path / "r").scores() == own
    assert own != result().scores(OWN)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / MANIFEST).write_text("{ not json"),
        lambda path: (path / SUMMARY).write_bytes((path / SUMMARY).read_bytes()[:200]),
        lambda path: (path / SUMMARY).unlink(),
        lambda path: (path / MANIFEST).write_text(json.dumps({"format": 99})),
    ],
)
def test_damaged_records_are_named_and_left_out(tmp_path: Path, damage: object) -> None:
    write_record(tmp_path / "good", manifest(), result())
    write_record(tmp_path / "bad", manifest(identity="i1"), result())
    damage(tmp_path / "bad")  # type: ignore[operator]
    records, remarks = search_records([tmp_path])
    assert [record.manifest.identity for record in records] == ["i0"]
    assert len(remarks) == 1 and "bad" in remarks[0][1]
    with pytest.raises(UserError, match="bad"):
        read_record(tmp_path / "bad")


def test_an_interrupted_write_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path / "r", manifest(), result())

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space"):
        write_record(tmp_path / "r", manifest(), result(1))
    assert search_records([tmp_path])[0] == []


def test_two_records_of_one_cell_are_never_mixed(tmp_path: Path) -> None:
    write_record(tmp_path / "old", manifest(), result(0))
    write_record(tmp_path / "new", manifest(created="2026-02-01T00:00:00+00:00"), result(1))
    records, remarks = search_records([tmp_path])
    assert [record.path.name for record in records] == ["new"]
    assert len(remarks) == 1 and "old" in remarks[0][1]


def test_a_published_copy_is_whole_and_one_without_scenes_still_reads(tmp_path: Path) -> None:
    write_record(tmp_path / "r", manifest(), result())
    publish_record(tmp_path / "r", tmp_path / "published")
    assert read_record(tmp_path / "published").scores() == read_record(tmp_path / "r").scores()
    assert set(read_scenes(read_record(tmp_path / "published"))) == set(result().scenes)
    assert search_records([tmp_path])[1] == [], "an identical copy is no conflict"
    (tmp_path / "r" / SCENES).unlink()
    publish_record(tmp_path / "r", tmp_path / "slim")
    assert sorted(path.name for path in (tmp_path / "slim").iterdir()) == [MANIFEST, SUMMARY]


def test_runs_set_aside_and_evaluations_under_other_protocols_are_not_read(tmp_path: Path) -> None:
    write_record(tmp_path / "old-20260101T000000-x" / "record", manifest(identity="a"), result())
    write_record(
        tmp_path / "run" / "evaluations" / "best" / "record", manifest(identity="b"), result()
    )
    assert search_records([tmp_path]) == ([], [])
