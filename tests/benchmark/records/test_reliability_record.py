"""`reliability.npz`: read back as written, of its record or named in a line; its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.write import write_leaderboard
from benchmark.metrics.confusion import Convention, scored_pixels
from benchmark.metrics.reliability import UNIT, check_reliability
from benchmark.records.arrays import read_arrays
from benchmark.records.groups import seed_groups
from benchmark.records.record import (
    RELIABILITY,
    publish_record,
    read_record,
    write_npz,
    write_record,
)
from benchmark.records.reliability import SUMS, read_reliability, write_reliability
from tests.support.tex import check_latex
from tests.support.toy_records import toy_manifest, toy_record, toy_result
from tests.support.toy_trust import toy_reliability
from usererror import UserError


def test_what_is_read_is_what_was_counted_and_it_is_published(tmp_path: Path) -> None:
    record = toy_record(tmp_path, "alpha")
    assert read_reliability(record) is None
    counts = toy_reliability(record)
    write_reliability(record, counts)
    publish_record(record.path, tmp_path / "published")
    for path in (record.path, tmp_path / "published"):
        found = read_reliability(read_record(path))
        assert found and found.subsets == counts.subsets
        for name in SUMS:
            np.testing.assert_array_equal(getattr(found, name), getattr(counts, name))
    write_record(record.path, record.manifest, toy_result(seed=5))
    assert read_reliability(read_record(record.path)) is None, "of the counts before"


Arrays = dict[str, np.ndarray]
# what is changed of the arrays
DAMAGES: dict[str, Callable[[Arrays], Arrays]] = {
    "unit": lambda arrays: {"unit": np.array(1e-6)},
    "subsets": lambda arrays: {"subsets": arrays["subsets"][::-1]},
    "shape": lambda arrays: {"hits": arrays["hits"][:, :-1]},
    "fewer hits": lambda arrays: {"hits": arrays["hits"] - (arrays["hits"] > 0)},
    "floats": lambda arrays: {"brier": arrays["brier"] / 2},
    "another bin": lambda arrays: {"confidence": arrays["confidence"] * 2},
    "changes": lambda arrays: {"changed": arrays["changed"] * 9},
}


@pytest.mark.parametrize("damage", [*DAMAGES, "cut"])
def test_a_damaged_or_foreign_file_is_one_line_and_no_row(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [toy_record(tmp_path, name) for name in ("alpha", "beta")]
    for record in records:
        write_reliability(record, toy_reliability(record))
    path = records[0].path / RELIABILITY
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    else:
        arrays = read_arrays(path)
        write_npz(path, arrays | DAMAGES[damage](arrays))
    with pytest.raises(UserError, match=r"damaged or of another record \(.*make reliability RUN="):
        read_reliability(records[0])
    write_leaderboard("toy", leaderboard_rows(seed_groups(records)), [], tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "toy.reliability.csv")
    assert set(frame["method"]) == {"beta"}
    assert str(path) in (tmp_path / "out" / "toy.reliability.md").read_text()
    assert capsys.readouterr().out.count("\n") == 1


def test_counts_of_another_record_are_refused(tmp_path: Path) -> None:
    one, other = toy_record(tmp_path, "alpha"), toy_record(tmp_path, "alpha", 1)
    with pytest.raises(ValueError, match="than those of the confusion counts"):
        write_reliability(one, toy_reliability(other))
    counts = toy_reliability(one)
    pixels, hits = scored_pixels(one.matrices(), one.convention)
    sure = replace(counts, brier=np.ceil(2.01 * pixels / UNIT).astype(np.int64))
    with pytest.raises(ValueError, match="more hits, changes or confidence"):
        check_reliability(sure, pixels, hits)


def test_scored_pixels_are_those_of_the_convention() -> None:
    """By hand: rows 0 to 2, of which the second is ignored; outputs are of the labels 2 and 0."""
    matrices = np.array([[[1, 10], [100, 1000], [20, 2]]])
    pixels, hits = scored_pixels(matrices, Convention((2, 0), (0, 2), (1,)))
    assert (pixels.tolist(), hits.tolist()) == ([33], [30])


def test_cells_of_the_table_are_means_over_seeds_of_what_the_definitions_give(
    tmp_path: Path,
) -> None:
    records = [toy_record(tmp_path, "alpha", seed) for seed in (0, 1)]
    records.append(toy_record(tmp_path, "without"))
    out = tmp_path / "out"
    write_leaderboard("toy", leaderboard_rows(seed_groups(records)), [], out)
    assert not (out / "toy.reliability.csv").exists(), "no record has counts"
    expected = []
    for record in records[:2]:
        counts = toy_reliability(record)
        write_reliability(record, counts)
        for number in (0, 6):
            pixels, hits = counts.pixels[number], counts.hits[number]
            gaps = [abs(hits[12] / pixels[12] - 12.5 / 15), 14.5 / 15]
            share = pixels[[12, 14]] / pixels.sum()
            wrong = pixels.sum() - hits.sum()
            changed = np.zeros(2) if number else np.array([wrong // 5, wrong // 3])
            expected.append(
                {
                    "ECE": 100 * float(share @ gaps),
                    "MCE": 100 * max(gaps),
                    "Brier": 0.7 * wrong / pixels.sum(),
                    "wrong and sure": 100 * share[1],
                    "OA": 100 * record.scores()[record.subsets[number]].oa,
                    "label changes": 100 * changed.sum() / pixels.sum(),
                    "right label lost": 100 * changed[1] / pixels.sum(),
                }
            )
    write_leaderboard("toy", leaderboard_rows(seed_groups(records)), [], out)
    frame = pd.read_csv(out / "toy.reliability.csv").set_index("subset")
    assert set(frame["method"]) == {"alpha"} and set(frame["seeds"]) == {2}
    for place, subset in enumerate(("R", "R+D+N")):
        for name, one in expected[place].items():
            values = [one, expected[place + 2][name]]
            assert frame[name][subset] == pytest.approx(np.mean(values), abs=1e-3), name
            assert frame[f"{name} std"][subset] == pytest.approx(np.std(values, ddof=1), abs=1e-3)
    subsets = frame.drop(index="mean")
    assert frame["ECE"]["mean"] == pytest.approx(subsets["ECE"].mean(), abs=1e-3)
    page = (out / "toy.reliability.md").read_text()
    assert page.count("| alpha pvt_v2_b0 |") == 8 and "| without" not in page
    check_latex((out / "toy.reliability.tex").read_text())
    assert toy_manifest("alpha").fingerprint[:12] in page
