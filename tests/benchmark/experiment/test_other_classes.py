"""A network evaluated on data whose classes have other ids, or are others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from benchmark.__main__ import main
from benchmark.records.record import read_record
from datamodules.adapters.registry import import_named_dataset
from tests.benchmark.conftest import write_raster
from tests.benchmark.experiment.test_bench import bench, only_run

TURNED = {0: 2, 1: 0, 2: 1}  # id in `tiny` -> id in `turned`
NAMES = {2: "ground", 0: "building", 1: "tree"}


def import_turned(source: Path, work: Path, name: str, names: dict[int, str]) -> None:
    """Import the scenes of `tiny` with other ids in their labels."""
    folder = work / f"{name}_source"
    shutil.copytree(source, folder)
    table = np.arange(256, dtype=np.uint8)
    table[list(TURNED)] = list(TURNED.values())
    for path in folder.glob("*_label.tif"):
        with rasterio.open(path) as file:
            pixels = file.read()
        write_raster(path, table[pixels])
    lines = ["id,name,r,g,b"]
    for number in sorted(names):
        lines.append(f"{number},{names[number]},{number},0,0")
    (folder / "classes.csv").write_text("\n".join(lines) + "\n")
    import_named_dataset(name, folder, work / "stores")


def test_outputs_are_matched_by_name(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The confusion matrix is that of the data trained on, its rows renumbered."""
    stores, words = tmp_path / "stores", ["--data.modalities", "[rgb,dsm]"]
    import_named_dataset("tiny", tiny_source, stores)
    import_turned(tiny_source, tmp_path, "turned", NAMES)
    import_turned(tiny_source, tmp_path, "foreign", {0: "water", 1: "snow", 2: "lava"})
    steps = ["--trainer.max_steps", "2"]
    assert bench(stores, tmp_path / "runs", *steps, *words, method="control") == 0
    run = only_run(tmp_path / "runs")
    own = read_record(run / "record")
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    evaluate = ["evaluate", "--checkpoint", checkpoint, "--store", str(stores)]
    assert main([*evaluate, "--data", "turned", "--out", str(tmp_path / "turned")]) == 0
    other = read_record(tmp_path / "turned" / "record")
    assert other.convention.outputs == tuple(TURNED[label] for label in own.convention.outputs)
    assert other.manifest.overrides == own.manifest.overrides  # what was typed, and no more
    renumbered = other.counts[..., [TURNED[label] for label in range(3)], :]
    assert np.array_equal(renumbered, own.counts)
    for subset, scores in own.scores().items():
        assert other.scores()[subset].miou == pytest.approx(scores.miou, abs=1e-12)
    capsys.readouterr()
    assert main([*evaluate, "--data", "foreign", "--out", str(tmp_path / "foreign")]) == 2
    error = capsys.readouterr().err
    assert "ground, building, tree" in error and "water, snow, lava" in error
    assert not (tmp_path / "foreign" / "record" / "manifest.json").exists()
