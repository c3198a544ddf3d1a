"""Scores under each convention against literal ones, and its marks and dashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.analysis.metric_conventions import (
    CONVENTIONS,
    convention_frame,
    convention_table,
    explain_dashes,
)
from benchmark.metrics.confusion import Convention
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.summaries import average_top1_last1
from benchmark.records.groups import seed_groups
from benchmark.records.record import SCENES, Record, publish_record, read_record
from tests.benchmark.leaderboard.test_leaderboard import record
from tests.support.toy_records import (
    CONVENTION,
    PROTOCOL,
    score,
    toy_folder,
    toy_record,
    toy_result,
)

K4 = replace(CONVENTION, outputs=(0, 1, 2, 3))
OWN = Convention((0, 1, 2), (0, 1, 2), (3,))
FOUR = Convention((0, 1, 2, 3), (0, 1, 2), (3,))


def pooled(result: EvaluationResult) -> np.ndarray:
    """Subsets x labels x outputs over all scenes, blocks and regions."""
    return np.sum([counts.sum((1, 2)) for counts in result.counts], axis=0)


def average(matrices: np.ndarray, convention: Convention, part: str = "miou") -> float:
    return 100 * float(np.mean([getattr(score(matrix, convention), part) for matrix in matrices]))


def values(entry: Record, summary: str = "Average") -> dict[str, float]:
    table = convention_frame(seed_groups([entry]))
    lines = table[table["summary"] == summary]
    return dict(zip(lines["convention"], lines["value"], strict=True))


def test_every_convention_is_what_its_name_says(tmp_path: Path) -> None:
    result = toy_result(outputs=4, scenes=5)
    for number, counts in enumerate(result.counts):
        counts[..., 2, :] = 0  # no tree anywhere, but it is guessed
        if number:
            counts[..., 1, :] = 0  # buildings in one scene only
    found = values(toy_record(tmp_path, "net", result=result, convention=K4))
    matrices = pooled(result)
    interior = np.sum([counts[:, :, 0].sum(1) for counts in result.counts], axis=0)
    by_scene = [
        [score(matrix, FOUR).miou for matrix in counts.sum((1, 2))] for counts in result.counts
    ]
    shares = [score(matrix, FOUR).miou for matrix in matrices]
    expected = {
        "own": average(matrices, FOUR),
        "clutter dropped": average(matrices, FOUR),
        "clutter out": average(matrices, replace(FOUR, ignored=())),
        "clutter in": average(matrices, replace(FOUR, ignored=(), averaged=(0, 1, 2, 3))),
        "absent exclude": average(matrices, FOUR),
        "absent union": average(matrices, replace(FOUR, absent="union")),
        "absent zero": average(matrices, replace(FOUR, absent="zero")),
        "full label": average(matrices, FOUR),
        "eroded label": average(interior, FOUR),
        "scene mean": 100 * float(np.mean(by_scene)),
        "macro F1": average(matrices, FOUR, "mf1"),
        "F1 of mIoU": 100 * float(np.mean([2 * value / (1 + value) for value in shares])),
    }
    assert found == pytest.approx(expected) and list(found) == [entry.name for entry in CONVENTIONS]
    assert found["absent union"] < found["own"] and found["macro F1"] <= found["F1 of mIoU"]


def test_summaries_are_of_the_scores_under_the_convention(tmp_path: Path) -> None:
    result = toy_result()
    entry = toy_record(tmp_path, "net", result=result)
    scores = [100 * score(matrix, replace(OWN, ignored=())).miou for matrix in pooled(result)]
    found = [values(entry, summary)["clutter out"] for summary in ("Average", "Top-1", "Last-1")]
    assert found == pytest.approx(average_top1_last1(scores))


def test_a_convention_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """Every class is there and no pixel is clutter: rules for either move no number."""
    result = toy_result()
    for counts in result.counts:
        counts[..., 3, :] = 0
    found = values(toy_record(tmp_path, "net", result=result))
    for name in (
        "clutter dropped",
        "clutter out",
        "absent exclude",
        "absent union",
        "absent zero",
        "full label",
    ):
        assert found[name] == found["own"], name
    assert found["eroded label"] != found["own"] != found["scene mean"]


def test_own_is_the_protocols_convention(tmp_path: Path) -> None:
    convention = replace(CONVENTION, regions=("interior",), absent="zero")
    entry = toy_record(tmp_path, "net", convention=convention)
    found = values(entry)
    assert found["own"] == pytest.approx(
        100 * np.mean([part.miou for part in entry.scores().values()])
    )
    assert found["own"] == found["eroded label"] != found["full label"]


def test_dashes_have_their_reason(tmp_path: Path) -> None:
    slim = toy_record(tmp_path, "slim", 1)
    (slim.path / SCENES).unlink()
    publish_record(slim.path, tmp_path / "published")
    slim = read_record(tmp_path / "published")
    first = toy_record(tmp_path, "partly", 0)
    partly = [first, replace(slim, manifest=first.manifest.model_copy(update={"seed": 1}))]
    whole = toy_record(tmp_path, "whole", result=toy_result(outputs=4), convention=K4)
    table = convention_frame(seed_groups([slim, whole, *partly]))
    sentences = explain_dashes(table)
    assert (
        "- clutter in: the network has no output for clutter (partly pvt_v2_b0, slim pvt_v2_b0)"
        in sentences
    )
    assert (
        "- scene mean: no counts per scene (older published records have none) (slim pvt_v2_b0)"
        in sentences
    )
    assert (
        "- scene mean: no counts per scene (older published records have none) of seed 1 "
        "(partly pvt_v2_b0)" in sentences
    )
    display = convention_table(table, "Average").set_index("method")
    assert (
        display.loc["slim pvt_v2_b0", "scene mean"] == "-"
        and "(1)" in display.loc["whole pvt_v2_b0", "clutter in"]
    )
    plain = convention_frame(seed_groups([record({"R": 40.0})]))
    assert {"clutter in", "eroded label", "scene mean"} <= set(
        plain.loc[plain["value"].isna(), "convention"]
    )
    assert any("no clutter class (all methods)" in sentence for sentence in explain_dashes(plain))
    assert any("no eroded label (all methods)" in sentence for sentence in explain_dashes(plain))
    assert convention_table(plain, "Average")["full label"].tolist() == ["40.00 (1)", "same"]
    assert convention_table(plain, "Average")["clutter out"].tolist() == ["-", "-"]


def by_hand(
    tmp_path: Path, name: str, change: Callable[[np.ndarray], None], **changes: object
) -> Record:
    """One scene, one block, one subset; 100 pixels of each of the four labels, all right."""
    result = toy_result(scenes=1, blocks=1, modalities=("R",), regions=("interior",), outputs=4)
    matrix = result.counts[0][0, 0, 0]
    matrix[:] = 100 * np.eye(4, dtype=int)
    change(matrix)
    return toy_record(tmp_path, name, result=result, **{"convention": K4, **changes})


def test_the_ranking_is_marked_where_it_changes(tmp_path: Path) -> None:
    def careless(matrix: np.ndarray) -> None:
        matrix[3] = [100, 0, 0, 0]  # takes all clutter for ground, and errs nowhere else

    def wary(matrix: np.ndarray) -> None:
        matrix[0] = [90, 10, 0, 0]  # errs a little among the classes

    def third(matrix: np.ndarray) -> None:
        matrix[0] = [50, 50, 0, 0]

    entries = [
        by_hand(tmp_path, "careless", careless),
        by_hand(tmp_path, "wary", wary),
        by_hand(tmp_path, "z", third),
    ]
    table = convention_frame(seed_groups(entries))
    lines = table[table["summary"] == "Average"].set_index(["convention", "method"])
    assert lines.loc["own", "rank"].to_dict() == {"careless": 1, "wary": 2, "z": 3}
    assert lines.loc["clutter out", "rank"].to_dict() == {"careless": 2, "wary": 1, "z": 3}
    assert lines.loc["clutter out", "changed"].to_dict() == {
        "careless": True,
        "wary": True,
        "z": False,
    }
    assert not lines.loc["clutter dropped", "changed"].any()
    display = convention_table(table, "Average").set_index("method")
    assert (
        display.loc["ranking", "clutter out"] == "changes"
        and display.loc["ranking", "absent zero"] == "same"
    )
    assert display.loc["careless pvt_v2_b0", "clutter out"].endswith("(2, own 1) !")
    assert display.index[:3].tolist() == ["careless pvt_v2_b0", "wary pvt_v2_b0", "z pvt_v2_b0"]


def test_ranks_are_compared_among_the_rows_that_can_be_read(tmp_path: Path) -> None:
    """The best method has no output for clutter: that others move up is no change of rank."""
    result = toy_result(scenes=1, blocks=1, modalities=("R",), regions=("interior",), outputs=3)
    result.counts[0][0, 0, 0] = 100 * np.eye(4, 3, dtype=int)
    best = toy_record(tmp_path, "best", result=result)

    def worse(matrix: np.ndarray) -> None:
        matrix[0] = [90, 10, 0, 0]

    table = convention_frame(seed_groups([best, by_hand(tmp_path, "worse", worse)]))
    line = table[(table["summary"] == "Average") & (table["convention"] == "clutter in")].set_index(
        "method"
    )
    assert line["rank"].isna().to_dict() == {"best": True, "worse": False}
    assert (line.loc["worse", "rank"], line.loc["worse", "base rank"]) == (1, 1) and not line[
        "changed"
    ].any()


def test_equal_scores_share_a_rank(tmp_path: Path) -> None:
    entries = [toy_record(tmp_path, name, result=toy_result(seed=3)) for name in ("a", "b")]
    assert set(convention_frame(seed_groups(entries))["rank"].dropna()) == {1}


@pytest.mark.usefixtures("no_published_records")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    toy_folder(runs, methods=3, seeds=2)
    toy_record(runs, "elsewhere", fingerprint="e" * 64, created="2025-01-01")
    other = PROTOCOL.model_copy(update={"name": "other"})
    toy_record(runs, "alien", protocol=other)
    damaged = runs / "method01" / "0" / "record" / "scenes.npz"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    assert main(["conventions", "--runs", str(runs), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert (
        "1 records of toy with another fingerprint" in said and "Left out of the scene mean" in said
    )
    table = pd.read_csv(tmp_path / "out" / "toy.csv")
    assert len(table) == 12 * 3 * (3 + 1)
    assert set(table.loc[table["method"] == "alien", "rank"].dropna()) == {1}, (
        "ranked among its own protocol"
    )
    text = (tmp_path / "out" / "toy.md").read_text()
    assert "## Protocol other" in text and "## Protocol standard" in text
    assert "- scene mean: damaged counts per scene of seed 0 (method01 pvt_v2_b0)" in text
    assert all(f"- {entry.name}: {entry.meaning}" in text for entry in CONVENTIONS)
