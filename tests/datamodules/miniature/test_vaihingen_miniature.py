"""The Vaihingen miniature: official names and sizes, sensors that need one another."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from datamodules.miniature.vaihingen import (
    SIZES,
    VAIHINGEN_TILES,
    vaihingen_scene,
    vaihingen_shape,
    write_vaihingen,
)
from datamodules.splits.tables import read_split_table

SIZE = 64
COMPLETE = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"


def files(root: Path) -> dict[str, str]:
    """Relative path -> checksum of every file."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def test_all_tiles_have_the_official_names_bands_and_no_georeference(tmp_path):
    import rasterio

    write_vaihingen(tmp_path, size=40)
    written = files(tmp_path)
    assert len(written) == 33 * 4 + 16 + 1
    assert len(list(tmp_path.glob("gts_for_participants/top_mosaic_09cm_area*.tif"))) == 16
    expected = {"top": (3, "uint8"), "dsm": (1, "float32"), COMPLETE: (3, "uint8")}
    assert {path.name for path in (tmp_path / "top").iterdir()} == {
        path.name for path in (tmp_path / COMPLETE).iterdir()
    }
    for folder, form in expected.items():
        paths = sorted((tmp_path / folder).iterdir())
        assert len(paths) == 33
        for path in paths:
            with warnings.catch_warnings(action="ignore"), rasterio.open(path) as dataset:
                assert (dataset.count, dataset.dtypes[0]) == form
                assert dataset.crs is None and dataset.transform.is_identity
                assert dataset.shape == vaihingen_shape(40, path.stem.split("_")[-1])
    shapes = {vaihingen_shape(40, tile) for tile in VAIHINGEN_TILES}
    assert len(shapes) > 10
    for portrait in (1, 5, 7, 23, 30):  # dossier 4.3
        height, width = vaihingen_shape(40, f"area{portrait}")
        assert height > width


def test_real_sizes_and_the_published_number_of_pixels():
    shapes = {tile: vaihingen_shape(SIZES["real"]["size"], tile) for tile in VAIHINGEN_TILES}
    assert (shapes["area1"], shapes["area30"]) == ((2569, 1919), (2563, 1934))
    assert sum(h * w for h, w in shapes.values()) == pytest.approx(168.3e6, abs=0.05e6)
    assert (
        min(min(s) for s in shapes.values()) == 1281
        and max(max(s) for s in shapes.values()) == 3816
    )


def test_the_demonstration_is_of_a_size_for_minutes():
    """Below about a megapixel of test scenes, since every subset is evaluated on all of them."""
    size = SIZES["demonstration"]["size"]
    table = read_split_table("vaihingen")
    megapixels = dict.fromkeys(("train", "val", "test"), 0.0)
    for tile in VAIHINGEN_TILES:
        height, width = vaihingen_shape(size, tile)
        megapixels[table[tile]["split_standard"]] += height * width / 1e6
    assert megapixels["train"] > 0.8 and megapixels["test"] < 1.2


def test_a_tile_depends_on_seed_tile_and_size_alone(tmp_path):
    write_vaihingen(tmp_path / "whole", size=SIZE, tiles=["area2", "area3", "area38"])
    write_vaihingen(tmp_path / "again", size=SIZE, tiles=["area38", "area3"])
    again, whole = files(tmp_path / "again"), files(tmp_path / "whole")
    assert len(again) == 4 + 5 + 1 and all(whole[name] == value for name, value in again.items())
    write_vaihingen(tmp_path / "other", size=SIZE, tiles=["area3"], seed=1)
    assert all(whole[name] != value for name, value in files(tmp_path / "other").items())


def test_what_is_alike_in_one_sensor_differs_in_the_other(tmp_path, pixels):
    """Roofs differ from streets in height, green from both in near infrared against red."""
    write_vaihingen(tmp_path, size=160, tiles=["area3", "area15"])
    roofs, streets, green = [], [], []
    for tile in ("area3", "area15"):
        truth = vaihingen_scene(160, 0, tile).label
        heights = pixels(tmp_path / "dsm" / f"dsm_09cm_matching_{tile}.tif")[0]
        irrg = pixels(tmp_path / "top" / f"top_mosaic_09cm_{tile}.tif").astype(float)
        index = (irrg[0] - irrg[1]) / (irrg[0] + irrg[1] + 1)
        roofs.append(np.median(heights[truth == 1]) - np.median(heights[truth == 0]))
        streets.append(np.median(index[truth == 0]))
        green.append(np.median(index[(truth == 2) | (truth == 3)]))
    assert min(roofs) > 2 and min(green) > max(streets) + 0.15


@pytest.mark.parametrize("arguments", [{"tiles": ["area9"]}, {"size": 31}])
def test_wrong_arguments(arguments, tmp_path):
    with pytest.raises(ValueError, match=r"area9|31"):
        write_vaihingen(tmp_path, **arguments)
