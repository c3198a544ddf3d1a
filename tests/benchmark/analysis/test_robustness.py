"""Tables of damage against scores that were chosen beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.robustness import write_robustness
from benchmark.metrics.subsets import CLEAN, damage_case
from benchmark.records.damage import Damage, damage_path, read_damage, write_damage
from benchmark.records.record import Record, publish_record, read_record, write_record
from benchmark.records.selection import RecordSelection
from tests.support.toy_records import toy_manifest, toy_result
from tests.support.toy_trust import scored
from usererror import UserError

SETS = ("R", "D", "R+D")
MILD, STRONG = "mild", "strong"
ABOUT = {"version": 1, "digest": "0", "seed": 0}
FOG = Damage("fog", group="weather", combinations="all", severities=(MILD, STRONG), **ABOUT)  # type: ignore[arg-type]
SNOW = Damage("snow", group="weather", combinations="all", severities=(MILD,), **ABOUT)  # type: ignore[arg-type]
ZERO = Damage(
    "zero_normalised", group="absence", combinations="missing", severities=("absent",), **ABOUT
)  # type: ignore[arg-type]


def fog_cases(clean: int, mild: tuple[int, ...], strong: tuple[int, ...]) -> dict[str, int]:
    cases = {CLEAN: clean}
    for severity, scores in ((MILD, mild), (STRONG, strong)):
        cases |= {damage_case(severity, s): v for s, v in zip(SETS, scores, strict=True)}
    return cases


def make_record(path: Path, variant: str, seed: int = 0) -> Record:
    result = toy_result(seed=seed, modalities=("R", "D"))
    write_record(path, toy_manifest(variant, seed, modalities={"rgb": "R", "dsm": "D"}), result)
    return read_record(path)


def test_the_worked_example(tmp_path: Path) -> None:
    record = make_record(tmp_path / "one", "sgma")
    write_damage(record.path, FOG, scored(fog_cases(80, (70, 78, 68), (60, 72, 48))))
    paths, tables = write_robustness(tmp_path, "toy", RecordSelection([record]))
    [table] = tables.values()
    [row] = table.to_dict("records")
    assert (row["clean"], row["weather"], row["mPC"], row["rPC"]) == (
        *("80.00", "66.00", "66.00"),
        "82.50",
    )
    assert row["worst"] == "48.00 (fog strong:R+D)"
    assert {path.name for path in paths} == {
        f"toy.robustness.{end}" for end in ("csv", "md", "tex")
    }
    frame = pd.read_csv(tmp_path / "toy.robustness.csv")
    assert frame.set_index(["severity", "damaged"])["mIoU"].to_dict() == {
        **{(MILD, "R"): 70, (MILD, "D"): 78, (MILD, "R+D"): 68},
        **{(STRONG, "R"): 60, (STRONG, "D"): 72, (STRONG, "R+D"): 48},
    }


def test_seeds_scenarios_and_rows_that_lack_one(tmp_path: Path) -> None:
    records = []
    for seed, shift in ((0, 0), (1, 10)):
        record = make_record(tmp_path / f"sgma{seed}", "sgma", seed)
        levels = (60 + shift,) * 3
        write_damage(record.path, FOG, scored(fog_cases(80 + shift, levels, levels)))
        cases = {CLEAN: 80 + shift, **{damage_case(MILD, s): 40 + shift for s in SETS}}
        write_damage(record.path, SNOW, scored(cases))
        records.append(record)
    lacking = make_record(tmp_path / "magic", "magic")
    write_damage(lacking.path, FOG, scored(fog_cases(50, (50, 50, 50), (50, 50, 50))))
    # a record without damage is no row of this table
    records += [lacking, make_record(tmp_path / "imlt", "imlt")]
    _, tables = write_robustness(tmp_path, "toy", RecordSelection(records))
    [table] = tables.values()
    rows = {row["method"].split()[0]: row for row in table.to_dict("records")}
    assert rows.keys() == {"sgma", "magic"}
    # seeds have 50 and 60: the mean of two scenarios of 60 and 40
    assert rows["sgma"]["mPC"] == "55.00 +- 7.07" and rows["sgma"]["n"] == "2"
    # 50 of 80 and 60 of 90
    assert rows["sgma"]["rPC"] == f"{(62.5 + 200 / 3) / 2:.2f} +- 2.95"
    assert rows["magic"]["mPC"] == "-" and rows["magic"]["clean"] == "50.00"


def test_what_stands_for_a_missing_sensor(tmp_path: Path) -> None:
    record = make_record(tmp_path / "one", "sgma")
    cases = {CLEAN: 90, damage_case("absent", "R"): 30, damage_case("absent", "D"): 60}
    write_damage(record.path, ZERO, scored(cases))
    write_robustness(tmp_path, "toy", RecordSelection([record]))
    page = (tmp_path / "toy.robustness.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("| sgma")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    dropped = 100 * np.mean([entry.miou for entry in record.scores().values()])
    # both, one or the other: 0.81 x 90 + 0.09 x 30 + 0.09 x 60, given that one is left
    expected = [((1 - p) ** 2 * 90 + p * (1 - p) * 90) / (1 - p**2) for p in (0.05, 0.1, 0.2)]
    numbers = [f"{value:.2f}" for value in expected]
    assert cells[1:] == [f"{dropped:.2f} (1)", "60.00 (1)", *numbers]


def test_conditions_of_the_scenes_stand_in_the_same_page(tmp_path: Path) -> None:
    result = toy_result(modalities=("R", "D"))
    weather = {
        scene: [f"weather={'fog' if n % 2 else 'sun'}"] for n, scene in enumerate(result.scenes)
    }
    manifest = toy_manifest("sgma", modalities={"rgb": "R", "dsm": "D"})
    write_record(tmp_path / "one", manifest, replace(result, conditions=weather))
    record = read_record(tmp_path / "one")
    write_damage(record.path, FOG, scored(fog_cases(80, (70, 78, 68), (60, 72, 48))))
    write_robustness(tmp_path, "toy", RecordSelection([record]))
    page = (tmp_path / "toy.robustness.md").read_text()
    table = page.split("### Conditions of the test scenes, all sensors")[1].split("###")[0]
    for name in ("weather=fog", "weather=sun"):
        assert name in table and f"{100 * record.scores(name)['R+D'].miou:.2f}" in table


def test_the_newest_definition_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = []
    for name, version in (("sgma", 1), ("magic", 2)):
        record = make_record(tmp_path / name, name)
        damage = Damage(**{**vars(FOG), "version": version})
        write_damage(record.path, damage, scored(fog_cases(80, (70, 70, 70), (60, 60, 60))))
        records.append(record)
    _, tables = write_robustness(tmp_path, "toy", RecordSelection(records))
    [table] = tables.values()
    assert [row["method"].split()[0] for row in table.to_dict("records")] == ["magic"]
    assert "under fog: not all seeds were scored under its newest definition" in (
        capsys.readouterr().out
    )


def test_a_record_that_is_made_again_has_no_counts_of_the_one_before(tmp_path: Path) -> None:
    record = make_record(tmp_path / "one", "sgma")
    write_damage(record.path, FOG, scored(fog_cases(80, (70, 78, 68), (60, 72, 48))))
    assert len(list(read_damage(record))) == 1
    assert not list(read_damage(make_record(tmp_path / "one", "sgma", seed=1)))


def test_counts_are_published_and_damaged_files_named(tmp_path: Path) -> None:
    record = make_record(tmp_path / "one", "sgma")
    write_damage(record.path, FOG, scored(fog_cases(80, (70, 78, 68), (60, 72, 48))))
    publish_record(record.path, tmp_path / "published")
    [read] = read_damage(read_record(tmp_path / "published"))
    assert read.damage == FOG and read.sets == SETS
    clean, scores = read.miou()
    assert clean == pytest.approx(80)
    assert scores == pytest.approx(np.array([[70, 78, 68], [60, 72, 48]]))
    path = damage_path(record.path, "fog")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"fog.npz is damaged .*SCENARIO=fog FORCE=1"):
        list(read_damage(record))
    # the counts of another record
    write_damage(record.path, FOG, scored({CLEAN: 80, damage_case(MILD, "R"): 70}))
    with pytest.raises(UserError, match="does not fit its record"):
        list(read_damage(record))
