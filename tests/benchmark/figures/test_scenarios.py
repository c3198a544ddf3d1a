"""`imss scenarios`: the list of all damage, and the sheet that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmark.__main__ import main
from benchmark.evaluation.scenario_files import read_scenarios
from benchmark.figures.damage_sheet import compose_damages, damage_pictures
from benchmark.figures.scenario_table import scenario_table
from datamodules.store.scene_store import SceneStore


def test_the_list_names_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios"]) == 0
    printed = capsys.readouterr().out
    files = (Path(__file__).resolve().parents[3] / "configs" / "scenario").glob("*.yaml")
    for path in files:
        assert f" {path.stem} " in printed


def test_the_document_describes_every_scenario() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "scenarios.md").read_text("utf-8")
    rows = [line.partition("|")[2].partition("|")[0] for line in text.splitlines()]
    described = " ".join(row for row in rows if "`" in row)
    for name in scenario_table(read_scenarios())["scenario"]:
        assert f"`{name}`" in described


def test_a_group_and_a_name_choose() -> None:
    found = read_scenarios(["sar", "shift"])
    assert [one.name for one in found] == ["calibration", "shift", "speckle"]


def test_the_sheet_shows_clean_and_every_severity(tiny_stores: Path, tmp_path: Path) -> None:
    store, wanted = SceneStore.open(tiny_stores / "tiny"), read_scenarios(["shift", "contrast"])
    figure = compose_damages(store, wanted, "", 32)
    labels = [axis.get_label() for axis in figure.axes if axis.get_label()]
    optical = next(name for name, one in store.modalities.items() if one.kind == "optical")
    cells = ["clean", *wanted[0].severities]
    assert labels[: len(cells)] == [f"contrast {optical} {cell}" for cell in cells]
    out = tmp_path / "sheet.png"
    words = ["scenarios", "--data", "tiny", "--store", str(tiny_stores), "--scenario", "contrast"]
    assert main([*words, "--out", str(out)]) == 0
    assert imread(out).std() > 0.05


def test_pictures_of_a_row_share_one_range(tiny_stores: Path) -> None:
    """An offset that pictures with ranges of their own would hide."""
    store, (contrast,) = SceneStore.open(tiny_stores / "tiny"), read_scenarios(["contrast"])
    scene = store.split(store.info["splits"][0])["test"][0]
    modality = next(one for one in store.modalities.values() if one.kind == "optical")
    assert modality.dtype == "uint8"
    shown = damage_pictures(store, scene, modality, contrast, 32)
    clean, worst = shown["clean"], shown["15 %"]
    np.testing.assert_allclose(worst - 0.5, 0.15 * (clean - 0.5), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--scenario", "hase"], "Unknown SCENARIO 'hase'.*Did you mean haze"),
        (["--out", "sheet.pdf"], "let OUT end in .png"),
        (["--out", "a.png", "--scene", "nowhere"], "tiny has no scene 'nowhere'"),
        (["--out", "a.png", "--side", "0"], "give 1 or more pixels"),
        (["--out", "a.png", "--scenario", "speckle"], "no sensor for these"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    line: str,
    tiny_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scenarios", "--data", "tiny", "--store", str(tiny_stores), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(line, error)
