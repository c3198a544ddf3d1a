"""Places of one scene's rasters, compared on import."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine, from_origin

from datamodules.adapters.registry import import_named_dataset
from datamodules.rasters.placement import Grid, match_grids
from tests.support.placed import PLACE, write
from usererror import UserError

SIDE = 0.2


@pytest.fixture
def source(tmp_path: Path, write_folder: Any) -> dict[str, np.ndarray]:
    """Write a folder whose rasters all lie at `PLACE`, and return the layers of scene s0."""
    truth = write_folder(tmp_path / "source")
    for scene, layers in truth.items():
        for raster, values in layers.items():
            write(tmp_path / "source" / raster / f"{scene}.tif", values)
    return truth["s0"]


def load(tmp_path: Path, **options: Any) -> Any:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    return import_named_dataset("mine", tmp_path / "source", tmp_path / "store", **options)


@pytest.mark.parametrize("raster", ["dsm", "label"])
@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({"transform": PLACE @ Affine.translation(20, -20)}, "20.00 pixels"),
        ({"transform": PLACE @ Affine.translation(0.5, 0.5)}, "0.50 pixels"),
        ({"transform": from_origin(770550, 6277600, 0.4, 0.4)}, "50.00 pixels"),
        ({"transform": Affine(0.2, 0, float("nan"), 0, -0.2, 6277600)}, "do not share a grid"),
        ({"crs": "EPSG:3857"}, "EPSG:3857 and EPSG:2154"),
        ({"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, "cannot be compared"),
    ],
)
def test_other_ground_is_refused(place, text, raster, source, tmp_path):
    write(tmp_path / "source" / raster / "s0.tif", source[raster], **place)
    with pytest.raises(UserError, match=text) as caught:
        load(tmp_path)
    assert f"{raster}/s0.tif" in str(caught.value) and "\n" not in str(caught.value)
    store = load(tmp_path, align="ignore")
    assert store.info["align"] == "ignore"
    assert any(f"{raster}/s0.tif" in line for line in store.info["warnings"])


def test_rows_from_south_to_north_are_turned(source, tmp_path, pixels):
    aligned = load(tmp_path)
    fingerprint = aligned.fingerprint
    south = Affine(SIDE, 0, PLACE.c, 0, SIDE, PLACE.f - 40 * SIDE)
    write(tmp_path / "source/dsm/s0.tif", source["dsm"][:, ::-1].copy(), transform=south)
    store = load(tmp_path)
    assert store.fingerprint == fingerprint
    assert any("dsm/s0.tif: its rows run the other way" in line for line in store.info["warnings"])
    with rasterio.open(store.scenes[0].paths["dsm"]) as file:
        assert file.transform.almost_equals(PLACE)
        np.testing.assert_array_equal(file.read(), source["dsm"])


def test_what_is_not_known_or_rounded_agrees(source, tmp_path):
    fingerprint = load(tmp_path).fingerprint
    folder = tmp_path / "source"
    write(folder / "dsm/s0.tif", source["dsm"], crs=None, transform=Affine.identity())
    write(folder / "dsm/s1.tif", source["dsm"], crs=None)
    write(folder / "label/s0.tif", source["label"], transform=PLACE @ Affine.translation(0.2, 0.1))
    # the same ground with heights in its coordinate system: Lambert-93 + NGF-IGN69
    write(folder / "label/s1.tif", source["label"], crs="EPSG:5698")
    write(folder / "dsm/s1.tif", source["dsm"], crs="EPSG:5698")
    store = load(tmp_path)
    assert store.fingerprint != fingerprint  # s1 has other pixels now
    assert store.info["warnings"] == []


def test_rasters_beside_a_reference_without_a_place_are_compared(source, tmp_path):
    folder = tmp_path / "source"
    write(folder / "rgb/s0.tif", source["rgb"], crs=None, transform=Affine.identity())
    load(tmp_path)
    moved = PLACE @ Affine.translation(3, 0)
    write(folder / "label/s0.tif", source["label"], transform=moved)
    with pytest.raises(UserError, match=r"label/s0\.tif and .*dsm/s0\.tif do not share a grid"):
        load(tmp_path)


def test_control_points_are_no_grid(source, tmp_path):
    path = write(tmp_path / "source/dsm/s0.tif", source["dsm"], crs=None, transform=None)
    corners = [(0, 0), (0, 50), (40, 0), (40, 50)]
    points = [GroundControlPoint(row, col, *(PLACE @ (col, row))) for row, col in corners]
    with rasterio.open(path, "r+") as file:
        file.gcps = points, "EPSG:2154"
    with pytest.raises(UserError, match=r"dsm/s0\.tif is placed by 4 control points"):
        load(tmp_path)


def test_a_camera_model_is_no_grid(source, tmp_path):
    path = write(tmp_path / "source/dsm/s0.tif", source["dsm"], crs=None, transform=None)
    offsets = {name: 1.0 for name in ("err_bias", "err_rand", "height_off", "height_scale")}
    offsets |= dict.fromkeys(("lat_off", "lat_scale", "long_off", "long_scale"), 1.0)
    offsets |= dict.fromkeys(("line_off", "line_scale", "samp_off", "samp_scale"), 1.0)
    sides = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
    with rasterio.open(path, "r+") as file:
        file.rpcs = RPC(**offsets, **dict.fromkeys(sides, [1.0] * 20))
    with pytest.raises(UserError, match=r"dsm/s0\.tif is placed by a camera model"):
        load(tmp_path)


def test_ground_of_another_coordinate_system_is_found_there():
    """A degree grid at the equator beside its twin in metres of the same projection's sphere."""
    degrees = Grid(10, 10, rasterio.CRS.from_epsg(4326), from_origin(0, 1e-3, 1e-4, 1e-4))
    metre = 111319.49079327358 * 1e-4
    metres = Grid(10, 10, rasterio.CRS.from_epsg(3857), from_origin(0, 10 * metre, metre, metre))
    assert match_grids(metres, degrees, ("a", "b")).shift < 1e-3
