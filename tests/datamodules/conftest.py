"""A small folder of rasters as a user may have it, for tests of store, import and adapters."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_raster() -> Callable[..., None]:
    """Return a function that writes C x H x W values as a raster file; keywords go to rasterio."""

    def write(path: Path, values: np.ndarray, driver: str = "GTiff", **profile: object) -> None:
        import rasterio

        path.parent.mkdir(parents=True, exist_ok=True)
        count, height, width = values.shape
        with (
            warnings.catch_warnings(action="ignore"),
            rasterio.open(
                path,
                "w",
                driver=driver,
                count=count,
                height=height,
                width=width,
                dtype=values.dtype,
                **profile,
            ) as dataset,
        ):
            dataset.write(values)

    return write


@pytest.fixture(scope="session")
def write_folder(
    write_raster: Callable[..., None],
) -> Callable[..., dict[str, dict[str, np.ndarray]]]:
    """Return a function that writes a source and returns {scene: {raster: (C, H, W)}}."""

    def write(
        root: Path,
        *,
        height: int = 40,
        width: int = 50,
        splits: tuple[str, ...] = ("train", "val", "test"),
    ) -> dict[str, dict[str, np.ndarray]]:
        draw = np.random.default_rng(5)
        truth: dict[str, dict[str, np.ndarray]] = {}
        root.mkdir(parents=True, exist_ok=True)
        with (root / "scenes.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["id", "split", "rgb", "dsm", "label"])
            for i, split in enumerate(splits):
                truth[f"s{i}"] = {
                    "rgb": draw.integers(0, 256, (3, height, width), dtype=np.uint8),
                    "dsm": draw.normal(30, 5, (1, height, width)).astype(np.float32),
                    "label": draw.integers(0, 3, (1, height, width), dtype=np.uint8),
                }
                for raster, values in truth[f"s{i}"].items():
                    write_raster(root / raster / f"s{i}.tif", values)
                table.writerow(
                    [f"s{i}", split, *(f"{raster}/s{i}.tif" for raster in truth[f"s{i}"])]
                )
        (root / "classes.csv").write_text(
            "id,name,r,g,b\n0,road,90,90,90\n1,roof,200,30,30\n2,tree,0,110,0\n"
        )
        return truth

    return write


@pytest.fixture
def pixels() -> Callable[[Path], np.ndarray]:
    """Return a function that reads a raster file as C x H x W, raw."""

    def read(path: Path) -> np.ndarray:
        import rasterio

        with warnings.catch_warnings(action="ignore"), rasterio.open(path) as dataset:
            return dataset.read()

    return read


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight tiles of the Potsdam miniature, of the usual size."""
    from datamodules.miniature.potsdam import write_potsdam
    from tests.support.potsdam_layout import TOWN

    root = tmp_path_factory.mktemp("potsdam_town")
    write_potsdam(root, tiles=TOWN)
    return root
