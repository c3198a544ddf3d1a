"""A tiny store of the user's own rasters, imported through the folder adapter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

SIZES = {
    "one": ("train", 70, 90),
    "two": ("val", 64, 50),
    "three": ("test", 75, 61),
    "four": ("test", 40, 130),
}
SIZES |= {"five": ("test", 33, 33)}


def write_raster(path: Path, pixels: np.ndarray) -> None:
    profile = dict(driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2])
    with rasterio.open(path, "w", dtype=pixels.dtype, **profile) as file:
        file.write(pixels)


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenes of different sizes, three classes, and rgb, dsm and nir that each say something
    of the class.
    """
    root = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    lines = ["id,split,rgb,dsm,nir,label"]
    for name, (split, height, width) in SIZES.items():
        coarse = rng.integers(0, 3, (height // 8 + 1, width // 8 + 1))
        label = np.kron(coarse, np.ones((8, 8), int))[:height, :width].astype(np.uint8)
        rgb = (60 * label[None] + rng.integers(0, 60, (3, height, width))).astype(np.uint8)
        nir = (90 * (label == 2)[None] + rng.integers(0, 90, (1, height, width))).astype(np.uint8)
        dsm = (30 + 4 * (label == 1)[None] + rng.random((1, height, width))).astype(np.float32)
        label[rng.random(label.shape) < 0.05] = 255
        for kind, pixels in {"rgb": rgb, "dsm": dsm, "nir": nir, "label": label[None]}.items():
            write_raster(root / f"{name}_{kind}.tif", pixels)
        lines.append(
            f"{name},{split},{name}_rgb.tif,{name}_dsm.tif,{name}_nir.tif,{name}_label.tif"
        )
    (root / "scenes.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.csv").write_text(
        "id,name,r,g,b\n0,ground,0,0,0\n1,building,255,0,0\n2,tree,0,255,0\n"
    )
    return root


@pytest.fixture(scope="session")
def tiny_stores(tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of stores that holds `tiny`."""
    from datamodules.adapters.registry import import_named_dataset

    stores = tmp_path_factory.mktemp("stores")
    import_named_dataset("tiny", tiny_source, stores)
    return stores


@pytest.fixture(scope="session")
def many_stores(tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a store `tiny` in which every scene is also one of training."""
    from datamodules.adapters.registry import import_named_dataset

    root, stores = tmp_path_factory.mktemp("many"), tmp_path_factory.mktemp("many_stores")
    shutil.copytree(tiny_source, root, dirs_exist_ok=True)
    lines = (root / "scenes.csv").read_text().splitlines()
    for line in lines[1:]:
        name, _, *rasters = line.split(",")
        if name != "one":
            lines.append(",".join([f"{name}_again", "train", *rasters]))
    (root / "scenes.csv").write_text("\n".join(lines) + "\n")
    import_named_dataset("tiny", root, stores)
    return stores


@pytest.fixture
def no_published_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are of the test's own runs alone."""
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "none")
