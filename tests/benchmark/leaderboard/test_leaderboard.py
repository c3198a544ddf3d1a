"""The leaderboard against hand-computed means and the papers' definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.formats.latex import latex_table
from benchmark.formats.markdown import markdown_table
from benchmark.leaderboard.notes import footnote, scored_on_fewer
from benchmark.leaderboard.score_rows import ScoreRow, condition_rows, leaderboard_rows
from benchmark.leaderboard.table import format_leaderboard, leaderboard_frame
from benchmark.leaderboard.write import write_leaderboard
from benchmark.metrics.confusion import Convention
from benchmark.records.groups import seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import (
    Skipped,
    drop_inconsistent_seeds,
    keep_newest_fingerprint,
)
from tests.support.toy_records import PROTOCOL, toy_manifest

TRIAL = {"cell": {"scale": "small"}}
OWN = Convention(outputs=(0, 1), averaged=(0, 1))


def record(miou: dict[str, float], seed: int = 0, group: str = "g", **changes: object) -> Record:
    """A two-class record of (almost) the given mIoU in per cent, by symmetric errors."""
    counts = np.zeros((len(miou), 1, 1, 2, 2), np.int64)
    for number, value in enumerate(miou.values()):
        share = value / 100
        hits = round(2e8 * share / (1 + share))  # symmetric: IoU = h / (2n - h)
        counts[number, 0, 0] = [[hits, 10**8 - hits], [10**8 - hits, hits]]
    fields = {"identity": f"{group}{seed}", "group": group, "convention": OWN}
    fields |= {"created": f"2026-01-0{seed + 1}", **changes}
    manifest = toy_manifest(str(fields.pop("variant", group)), seed, **fields)
    scored = np.full((len(miou), 1), 3)
    return Record(
        Path("."), manifest, tuple(miou), ("all",), ("interior",), ("a", "b"), counts, scored
    )


def ranked(*records: Record) -> list[ScoreRow]:
    return leaderboard_rows(seed_groups(records))


def leaderboard(records: Sequence[Record]) -> pd.DataFrame:
    return leaderboard_frame(ranked(*records))


def written(directory: Path, records: list[Record]) -> list[Path]:
    return write_leaderboard("toy", ranked(*records), [], directory)


def test_variants_and_other_settings_are_folded_below_the_methods(tmp_path: Path) -> None:
    records = [
        record({"R": 70.0, "R+D": 80.0}, group="sgma"),
        record({"R": 71.0, "R+D": 81.0}, group="sgma_additive"),
        record({"R": 72.0, "R+D": 82.0}, group="long", variant="sgma", overrides=("--a.b=1",)),
        record({"R": 10.0, "R+D": 20.0}, group="own"),
    ]
    written(tmp_path, records)
    shown, folded = (tmp_path / "toy.md").read_text().split("<details>")
    names = [
        [line.split("|")[1].strip() for line in part.splitlines() if "|" in line]
        for part in (shown, folded)
    ]
    head, rule = names[0][:2]
    assert names == [[head, rule, "sgma", "own"], [head, rule, "sgma", "sgma_additive"]]
    assert "a.b=1" in folded and "overrides" not in shown and "2 more" in folded
    # spreadsheets have all of them
    assert len(pd.read_csv(tmp_path / "toy.csv")) == 4


def test_published_row_of_sgma_is_summarised_as_printed() -> None:
    # SGMA, Table I, PVT-v2-b2
    row = {
        "R": 83.51,
        "D": 57.05,
        "N": 76.06,
        "R+D": 86.62,
        "R+N": 84.25,
        "D+N": 82.56,
        "R+D+N": 86.84,
    }
    table = leaderboard([record(row)])
    assert table.loc[0, "Average"] == pytest.approx(79.55, abs=0.011)
    assert (table.loc[0, "Top-1 subset"], table.loc[0, "Last-1 subset"]) == ("R+D+N", "D")
    assert table.loc[0, "Top-1"] == pytest.approx(86.84, abs=0.01)
    assert table.loc[0, "Last-1"] == pytest.approx(57.05, abs=0.01)


def test_seeds_are_scored_first_and_averaged_after() -> None:
    seeds = [{"R": 50.0, "D": 20.0, "R+D": 60.0}, {"R": 70.0, "D": 40.0, "R+D": 55.0}]
    records = [record(row, seed) for seed, row in enumerate(seeds)]
    table = leaderboard(records)
    averages = [np.mean(list(row.values())) for row in seeds]
    assert table.loc[0, "seeds"] == 2
    assert table.loc[0, "Average"] == pytest.approx(np.mean(averages), abs=0.01)
    assert table.loc[0, "Average std"] == pytest.approx(np.std(averages, ddof=1), abs=0.01)
    # Top-1 is the mean of 60 and 70, but the best subset of the mean row is named: R 60, R+D 57.5
    assert table.loc[0, "Top-1"] == pytest.approx(65, abs=0.01)
    assert table.loc[0, "Top-1 subset"] == "R"
    assert format_leaderboard(ranked(*records)).loc[0, "R"] == "60.00 +- 14.14"


def test_best_average_comes_first() -> None:
    records = [record({"R": 30.0}, group="weak"), record({"R": 60.0}, group="strong")]
    assert leaderboard(records)["method"].tolist() == ["strong", "weak"]


def test_records_of_another_fingerprint_are_left_out_and_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [record({"R": 30.0}), record({"R": 60.0}, seed=1, fingerprint="e" * 64)]
    assert [
        entry.manifest.seed for entry in keep_newest_fingerprint("toy", records, Skipped())
    ] == [1]
    assert "another fingerprint" in capsys.readouterr().out


def test_a_record_of_another_split_is_no_other_seed() -> None:
    records = [record({"R": 30.0}), record({"R": 60.0}, seed=1)]
    protocol = PROTOCOL.model_copy(update={"split": "t"})
    other = record({"R": 60.0}, seed=2, protocol=protocol, created="2025-01-01")
    assert drop_inconsistent_seeds([*records, other], Skipped()) == records


def test_files_say_the_same(tmp_path: Path) -> None:
    records = [
        record({"R": 30.0, "D": 20.0, "R+D": 44.0}, group="m_1"),
        record({"R": 5.0, "D": 2.0, "R+D": 9.0}, group="n"),
    ]
    csv, md, tex = written(tmp_path, records)[:3]
    read = pd.read_csv(csv)
    assert read["method"].tolist() == ["m_1", "n"]
    assert read["mIoU R+D"].tolist() == pytest.approx([44, 9], abs=0.01)
    lines = md.read_text().splitlines()
    assert lines[2].startswith("| m_1 | pvt_v2_b0 | 31.33 | 44.00 (R+D) | 20.00 (D) |")
    assert "over 2 of 2 classes" in lines[-1] and "3 test scenes" in lines[-1]
    text = tex.read_text()
    assert r"m\_1 & \textbf{31.3} & \textbf{44.0} & \textbf{20.0}" in text
    assert text.count("\\\\\n") == 3 and text.count("{") == text.count("}")


def test_table_formats_agree_in_shape() -> None:
    display = format_leaderboard(ranked(record({"R": 30.0})))
    assert markdown_table(display).count("\n") == 2
    text = latex_table(display, [footnote(ranked(record({"R": 30.0})))])
    assert text.count("&") == 2 * (len(display.columns) - 1)


def test_rows_of_two_protocols_keep_their_own_conventions_in_the_note() -> None:
    convention = replace(OWN, absent="zero", regions=("interior",))
    protocol = PROTOCOL.model_copy(update={"name": "other"})
    records = [
        record({"R": 30.0}),
        record({"R": 40.0}, group="h", protocol=protocol, convention=convention),
    ]
    note = footnote(ranked(*records))
    assert (
        "absent classes: zero (other), exclude (standard)" in note
        and "eroded (other), full (standard) labels" in note
    )


def test_an_overridden_convention_is_in_the_note() -> None:
    convention = replace(OWN, absent="zero")
    records = [
        record({"R": 30.0}),
        record({"R": 40.0}, group="h", convention=convention, overrides=["--absent=zero"]),
    ]
    assert "absent classes: exclude / zero)" in footnote(ranked(*records))


def with_conditions(rows: dict[str, dict[str, float]], scenes: dict[str, list[int]]) -> Record:
    """A record of {condition: {subset: mIoU}}, `all` first, and its scored scenes."""
    parts = [record(row) for row in rows.values()]
    counts = np.concatenate([part.counts for part in parts], axis=1)
    scored = np.array(list(scenes.values())).T
    counts[scored == 0] = 0
    base = parts[0]
    return Record(
        base.path,
        base.manifest,
        base.subsets,
        tuple(rows),
        base.regions,
        base.labels,
        counts,
        scored,
    )


def test_conditions_have_rows_of_their_own(tmp_path: Path) -> None:
    rows = {
        "all": {"R": 40.0, "D": 30.0},
        "weather=fog": {"R": 20.0, "D": 35.0},
        "weather=sun": {"R": 60.0, "D": 28.0},
    }
    entry = with_conditions(rows, {"all": [5, 5], "weather=fog": [2, 2], "weather=sun": [3, 3]})
    split = condition_rows(ranked(entry))
    board = leaderboard_frame(split)
    assert board["condition"].tolist() == list(rows)
    assert board["Average"].tolist() == pytest.approx([35, 27.5, 44], abs=0.01)
    assert board["Top-1 subset"].tolist() == ["R", "D", "R"], "fog hurts R and spares D"
    display = format_leaderboard(split)
    assert display["scenes"].tolist() == ["5", "2", "3"]
    assert leaderboard([entry])["Average"].tolist() == pytest.approx([35], abs=0.01), (
        "the leaderboard is over all"
    )
    paths = written(tmp_path, [entry])
    assert [path.name for path in paths[3:6]] == [
        f"toy.conditions.{suffix}" for suffix in ("csv", "md", "tex")
    ]
    assert "| weather=fog | 2 |" in paths[4].read_text()
    assert condition_rows(ranked(record({"R": 30.0}))) == []


def test_subsets_are_scored_on_the_scenes_that_have_them() -> None:
    """Four scenes, one without D, none with N: what needs N has no score and enters no summary."""
    row = {"R": 60.0, "D": 40.0, "N": 0.0, "R+D": 50.0, "R+N": 0.0, "D+N": 0.0, "R+D+N": 0.0}
    entry = with_conditions({"all": row}, {"all": [4, 3, 0, 3, 0, 0, 0]})
    table = leaderboard([entry])
    assert table.loc[0, "Average"] == pytest.approx(50, abs=0.01)
    assert (table.loc[0, "Top-1 subset"], table.loc[0, "Last-1 subset"]) == ("R", "D")
    display = format_leaderboard(ranked(entry))
    assert display.loc[0, "N"] == display.loc[0, "R+D+N"] == "-"
    note = footnote(ranked(entry))
    assert "4 test scenes, but fewer for subsets" in note
    assert "D 3, N 0, R+D 3, R+N 0, D+N 0, R+D+N 0" in note
    assert table.loc[0, "scenes D"] == 3 and table.loc[0, "classes"] == "2 of 2"
    assert scored_on_fewer(ranked(entry)) == (4, "D 3, N 0, R+D 3, R+N 0, D+N 0, R+D+N 0")


def test_controls_are_marked(tmp_path: Path) -> None:
    records = [
        record({"R": 50.0}, group="plain", control=True),
        record({"R": 30.0}, group="rival", control=False),
        record({"R": 10.0}, group="other"),
    ]
    table = leaderboard(records)
    assert table["method"].tolist() == ["plain", "rival", "other"]
    assert table["control"].tolist() == [True, False, False]
    assert format_leaderboard(ranked(*records))["method"].tolist() == [
        "plain (control)",
        "rival",
        "other",
    ]
    csv, md, tex = written(tmp_path, records)[:3]
    assert pd.read_csv(csv)["control"].tolist() == [True, False, False]
    assert md.read_text().count("(control)") == tex.read_text().count("(control)") == 1
    assert "| plain (control) | pvt_v2_b0 | 50.00 |" in md.read_text()


def test_a_leaking_split_is_marked_beside_its_numbers() -> None:
    protocol = PROTOCOL.model_copy(
        update={"name": "sgma", "selected": "last", "split_note": "81 % is shared"}
    )
    records = [record({"R": 30.0}), record({"R": 90.0}, group="h", protocol=protocol)]
    assert format_leaderboard(ranked(*records))["protocol"].tolist() == [
        "sgma*, last",
        "standard, best",
    ]
    assert footnote(ranked(*records)).endswith("* sgma: 81 % is shared")
    assert r"81 \% is shared" in latex_table(
        format_leaderboard(ranked(*records)), [footnote(ranked(*records))]
    )


def test_a_trial_is_told_from_the_published_recipe() -> None:
    published = record({"R": 50.0}, group="a")
    trial = record({"R": 40.0}, group="b", config=TRIAL)
    rows = leaderboard_rows(seed_groups([published, trial]))
    assert format_leaderboard(rows)["scale"].tolist() == ["paper", "small"]
    assert leaderboard_frame(rows)["scale"].tolist() == ["paper", "small"]
    # where every row is published, readers need no column for it
    assert "scale" not in format_leaderboard(rows[:1])
