"""Whole runs on the generated datasets: subsets, conditions, scenes with gaps, leaky splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.records.record import Record, read_record
from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.registry import MINIATURES
from datamodules.store.scene_store import SceneStore

QUICK = ["--data.window", "32", "--data.batch_size", "4", "--data.num_workers", "0"]
QUICK += ["--trainer.max_steps", "2", "--trainer.val_check_interval", "1"]
QUICK += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]

Bench = Callable[..., tuple[Record, SceneStore]]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Generate a small dataset, damage it if asked, import it, and train two steps on it."""

    def run(
        name: str, *words: str, damage: Callable[[Path], None] | None = None
    ) -> tuple[Record, SceneStore]:
        miniature = MINIATURES[name]
        miniature.write_source(tmp_path / "source", "test")
        if damage:
            damage(tmp_path / "source")
        store = import_named_dataset(
            miniature.adapter,
            tmp_path / "source",
            tmp_path / "stores",
            name=name,
            tiles=miniature.scene_ids("test"),
            allow_incomplete=damage is not None,
        )
        places = ["--store", str(tmp_path / "stores"), "--runs", str(tmp_path / "runs")]
        assert main(["bench", "--data", name, *places, *QUICK, *words]) == 0
        return read_record(next((tmp_path / "runs").rglob("record"))), store

    return run


def table(tmp_path: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "leaderboards" / f"{name}.csv")


@pytest.mark.parametrize(
    ("name", "subsets"),
    [("vaihingen_miniature", "I D I+D"), ("dfc2023_miniature", "R D S R+D R+S D+S R+D+S")],
)
def test_every_subset_is_scored_on_every_labelled_pixel(
    name: str, subsets: str, bench: Bench
) -> None:
    record, store = bench(name)
    assert record.subsets == tuple(subsets.split())
    parts = [
        store.statistics[scene.id]["label"]["counts"]
        for scene in store.split("split_standard")["test"]
    ]
    labelled = sum(count for counts in parts for value, count in counts.items() if value != "255")
    assert record.counts.sum((1, 2, 3, 4)).tolist() == [labelled] * len(record.subsets)
    assert not record.manifest.protocol.split_note


def test_deliver_is_reported_per_weather_and_per_case(bench: Bench, tmp_path: Path) -> None:
    record, store = bench("deliver_miniature")
    assert len(record.subsets) == 15 and record.subsets[-1] == "R+D+E+L"
    test = [scene.id.split("/") for scene in store.split("split_standard")["test"]]
    weathers = Counter(parts[0] for parts in test)
    assert set(weathers) == {"cloud", "fog", "night", "rain", "sun"}
    board = table(tmp_path, "deliver_miniature.conditions").set_index("condition")
    for weather, scenes in weathers.items():
        assert board.loc[f"weather={weather}", "scenes R+D+E+L"] == scenes
    # five weathers, and as many cases as there are, make up the whole, pixel by pixel
    for column in ("weather", "case"):
        members = [i for i, name in enumerate(record.conditions) if name.startswith(f"{column}=")]
        assert np.array_equal(record.counts[:, members].sum(1), record.counts[:, 0])
        assert record.scored[:, members].sum(1).tolist() == [len(test)] * 15
    assert len(table(tmp_path, "deliver_miniature")) == 1


def test_scenes_that_lack_a_modality_are_trained_on_and_counted(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training and two test areas lack heights: I is scored on 17 areas, the others on 15."""

    def lose(source: Path) -> None:
        for area in ("area1", "area2", "area38"):
            for path in source.rglob(f"dsm_09cm_matching_{area}.*"):
                path.unlink()

    record, store = bench("vaihingen_miniature", damage=lose)
    assert store.info["incomplete"] and len(store.info["missing"]) == 3
    assert record.scored[:, 0].tolist() == [17, 15, 15]
    sizes = {
        scene.id: scene.height * scene.width for scene in store.split("split_standard")["test"]
    }
    gap = sizes["area2"] + sizes["area38"]
    assert record.counts.sum((1, 2, 3, 4)).tolist() == [
        sum(sizes.values()),
        *[sum(sizes.values()) - gap] * 2,
    ]
    text = (tmp_path / "leaderboards" / "vaihingen_miniature.md").read_text()
    assert (
        "17 test scenes, but fewer for subsets whose modalities some scenes lack (D 15, I+D 15"
        in text
    )
    on_screen = capsys.readouterr().out
    assert "17 test scenes, fewer where some lack a sensor: D 15, I+D 15" in on_screen


def test_gaps_of_a_release_need_no_permission_and_are_counted(bench: Bench) -> None:
    """Permanent water is mapped for one of two test tiles; all tiles lack some radar."""
    record, store = bench("mmflood_miniature")
    assert record.subsets == ("S", "D", "H", "S+D", "S+H", "D+H", "S+D+H")
    assert record.scored[:, 0].tolist() == [2, 2, 1, 2, 1, 1, 1]
    labelled = {"D": 0, "H": 0}
    for scene in store.split("split_standard")["test"]:
        counts = store.statistics[scene.id]["label"]["counts"]
        pixels = counts["0"] + counts["1"]
        labelled["D"] += pixels
        labelled["H"] += pixels if "hydro" in scene.paths else 0
    expected = [labelled["H" if "H" in subset else "D"] for subset in record.subsets]
    assert record.counts.sum((1, 2, 3, 4)).tolist() == expected
    assert labelled["H"] < labelled["D"]


def test_a_subset_without_any_scene_has_no_score(bench: Bench, tmp_path: Path) -> None:
    def lose(source: Path) -> None:
        areas = "2 4 6 8 10 12 14 16 20 22 24 27 29 31 33 35 38"
        test = set(areas.split())
        for path in source.rglob("dsm_09cm_matching_area*"):
            if path.stem.removeprefix("dsm_09cm_matching_area") in test:
                path.unlink()

    record, _ = bench("vaihingen_miniature", damage=lose)
    assert record.scored[:, 0].tolist() == [17, 0, 0]
    row = table(tmp_path, "vaihingen_miniature").iloc[0]
    assert np.isnan(row["mIoU D"]) and row["Average"] == row["mIoU I"] == row["Last-1"]


def test_numbers_of_a_leaking_split_are_marked(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = bench("dfc2023_miniature", "--protocol", "sgma")
    assert "81 %" in record.manifest.protocol.split_note
    assert "81 %" in capsys.readouterr().out
    text = (tmp_path / "leaderboards" / "dfc2023_miniature.md").read_text()
    assert "| sgma*, last |" in text and "* sgma: " in text and "81 %" in text
