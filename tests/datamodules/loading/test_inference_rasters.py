"""Rasters named by a user: read as training scenes are, or refused with one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from datamodules.loading.inference_rasters import ModalitySpec, open_scene, parse_inputs
from datamodules.store.reader import Window
from datamodules.store.scene_store import Modality
from tests.support.placed import PLACE, write
from usererror import UserError

RGB = ModalitySpec(
    Modality("rgb", "R", 3, "uint8", "counts", "optical"),
    [10.0, 20.0, 30.0],
    [2.0, 4.0, 5.0],
    False,
)
NIR = ModalitySpec(Modality("nir", "N", 1, "uint8", "counts", "optical"), [0.0], [1.0], False)
DSM = ModalitySpec(Modality("dsm", "D", 1, "float32", "m", "height_absolute"), [1.0], [2.0], True)
EXPECTED = {"rgb": RGB, "dsm": DSM, "nir": NIR}


def colours(seed: int, count: int, height: int = 40, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, height, width)).astype(np.uint8)


def test_heights_by_their_range_are_those_of_the_new_raster(tmp_path: Path) -> None:
    spec = ModalitySpec(DSM.modality, [0.0], [1.0], False, ranged=True)
    assert ModalitySpec.from_json(spec.to_json()) == spec
    heights = np.linspace(100, 140, 1200, dtype=np.float32).reshape(1, 40, 30)
    files = parse_inputs([f"dsm={write(tmp_path / 'dsm.tif', heights)}"], ["dsm"])
    with open_scene(files, {"dsm": spec}) as (rasters, _):
        pixels, _ = rasters["dsm"].read(Window(0, 0, 40, 30))
    np.testing.assert_allclose(pixels, (heights - 100) / 40, atol=1e-5)


def refused(*words: str) -> str:
    with (
        pytest.raises(UserError) as found,
        open_scene(parse_inputs(words, list(EXPECTED)), EXPECTED),
    ):
        pass
    assert "\n" not in str(found.value)
    return str(found.value)


def test_pixels_are_normalised_bands_chosen_and_what_lies_beyond_mirrored(tmp_path: Path) -> None:
    four, rgb = colours(0, 4), colours(1, 3)
    files = [
        f"nir={write(tmp_path / 'four.tif', four)}:4",
        f"rgb={write(tmp_path / 'rgb.tif', rgb)}",
    ]
    parsed = parse_inputs(files, list(EXPECTED))
    assert list(parsed) == ["rgb", "nir"]  # the order of the run, not of the command line
    with open_scene(parsed, EXPECTED) as (rasters, grid):
        assert (grid.height, grid.width, grid.crs.to_epsg(), grid.transform) == (
            40,
            30,
            2154,
            PLACE,
        )
        pixels, valid = rasters["rgb"].read(Window(32, 24, 16, 16))
        around, everywhere = rasters["rgb"].read(Window(-50, -3, 150, 100))
        nir, _ = rasters["nir"].read(Window(0, 0, 40, 30))
    np.testing.assert_array_equal(nir[0], four[3])
    assert valid.all() and everywhere.all()
    expected = (rgb[:, 32:, 24:] - np.array([10, 20, 30]).reshape(3, 1, 1)) / np.array(
        [2, 4, 5]
    ).reshape(3, 1, 1)
    np.testing.assert_allclose(pixels[:, :8, :6], expected, rtol=1e-6)
    whole = (rgb - np.array([10, 20, 30]).reshape(3, 1, 1)) / np.array([2, 4, 5]).reshape(3, 1, 1)
    np.testing.assert_allclose(
        around, np.pad(whole, ((0, 0), (50, 60), (3, 67)), mode="symmetric"), rtol=1e-6
    )
    np.testing.assert_array_equal(pixels, around[:, 82:98, 27:43])


def test_heights_stand_on_the_scenes_own_fifth_percentile(tmp_path: Path) -> None:
    heights = (500 + np.arange(1200, dtype=np.float32)).reshape(1, 40, 30)
    heights[0, 0, :2] = np.nan, -9999
    low = np.sort(heights[heights > 0])[int(np.ceil(0.05 * 1198)) - 1]
    with open_scene(
        parse_inputs([f"dsm={write(tmp_path / 'dsm.tif', heights)}"], ["dsm"]), EXPECTED
    ) as (rasters, _):
        pixels, valid = rasters["dsm"].read(Window(0, 0, 40, 30))
    assert not valid[0, :2].any() and valid.sum() == 1198
    np.testing.assert_allclose(pixels[0][valid], (heights[0][valid] - low - 1) / 2, rtol=1e-5)
    np.testing.assert_allclose(pixels[0, 0, :2], (0 - 1) / 2)  # invalid pixels take the percentile


def test_nodata_is_what_all_bands_call_so_unless_told_otherwise(tmp_path: Path) -> None:
    rgb = colours(2, 3)
    rgb[:, 5, 5] = 255
    rgb[0, 6, 6] = 255
    words = parse_inputs([f"rgb={write(tmp_path / 'rgb.tif', rgb, nodata=255)}"], ["rgb"])
    with open_scene(words, EXPECTED) as (rasters, _):
        valid = rasters["rgb"].read(Window(0, 0, 40, 30))[1]
    assert valid.sum() == 1199 and not valid[5, 5]
    with open_scene(words, EXPECTED, honour_nodata=False) as (rasters, _):
        pixels, valid = rasters["rgb"].read(Window(0, 0, 40, 30))
    assert valid.all() and pixels[0, 5, 5] == pytest.approx((255 - 10) / 2)


def test_a_map_reads_what_the_import_of_the_same_files_stores(tmp_path: Path) -> None:
    """Tagged and impossible values, a mask, transparency, a palette, a scale, rows from below."""
    from datamodules.adapters.registry import import_named_dataset
    from datamodules.base import SceneDataModule
    from datamodules.loading.inference_rasters import ModalitySpec as Spec

    side, source = 40, tmp_path / "source"
    source.mkdir()
    south = Affine(0.2, 0, PLACE.c, 0, 0.2, PLACE.f - side * 0.2)
    rgba = colours(1, 4, side, side)
    rgba[3], rgba[3, 5:9, 5:9] = 255, 0
    write(source / "rgb.tif", rgba)
    centimetres = (colours(2, 1, side, side).astype(np.int16) - 20) * 10
    centimetres[0, 20:24] = -32768
    dsm = write(source / "dsm.tif", centimetres, nodata=-32768, transform=south)
    with rasterio.open(dsm, "r+") as file:
        file.scales = (0.01,)
    nir = write(source / "nir.tif", colours(3, 1, side, side))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(nir, "r+") as file:
        file.write_mask((colours(4, 1, side, side)[0] > 30).astype(np.uint8) * 255)
    sar = colours(5, 2, side, side).astype(np.float32) / 10 - 25
    sar[:, 3, :9], sar[1, 30:] = -9999, 3.4e38
    write(source / "sar.tif", sar)
    write(source / "map.tif", colours(6, 1, side, side) % 4)
    with rasterio.open(source / "map.tif", "r+") as file:
        file.write_colormap(1, {i: (9 * i, 40, 200 - 50 * i, 255) for i in range(4)})
    write(source / "label.tif", colours(7, 1, side, side) % 2)
    names = "rgb", "dsm", "nir", "sar", "map"
    cells = ",".join(f"{name}.tif" for name in (*names, "label"))
    rows = "".join(f"{part},{part},{cells}\n" for part in ("train", "test"))
    (source / "scenes.csv").write_text(f"id,split,{','.join(names)},label\n{rows}")
    (source / "classes.csv").write_text("id,name,r,g,b\n0,a,1,1,1\n1,b,2,2,2\n")
    store = import_named_dataset("mine", source, tmp_path / "stores")
    data = SceneDataModule("mine", str(tmp_path / "stores"), window=side, num_workers=0)
    scored = data.evaluation_windows("test")[0, 0]["image"]
    specs = {x.name: Spec.from_layer(x, store.modalities[x.name]) for x in data.layers}
    words = [f"{name}={source / name}.tif" for name in names]
    with open_scene(parse_inputs(words, names), specs) as (rasters, grid):
        assert grid.transform == PLACE
        for name in names:
            pixels, valid = rasters[name].read(Window(0, 0, side, side))
            np.testing.assert_array_equal(pixels, scored[name].numpy(), err_msg=name)
            assert valid.all() == (name == "map")


def test_transparency_is_no_colour_but_a_mask(tmp_path: Path) -> None:
    rgba = colours(3, 4)
    rgba[3], rgba[3, :7] = 255, 0
    path = write(tmp_path / "rgba.tif", rgba, photometric="RGB", alpha="yes")
    with open_scene(parse_inputs([f"rgb={path}"], ["rgb"]), EXPECTED) as (rasters, _):
        valid = rasters["rgb"].read(Window(0, 0, 40, 30))[1]
    assert not valid[:7].any() and valid[7:].all()


def test_files_without_a_place_lie_where_the_others_lie(tmp_path: Path) -> None:
    """As in Potsdam, whose heights have a world file and no coordinate system."""
    rgb = write(tmp_path / "rgb.tif", colours(4, 3))
    nir = write(tmp_path / "nir.tif", colours(5, 1), crs=None)
    dsm = write(tmp_path / "dsm.tif", colours(6, 1).astype(np.float32), crs=None, transform=None)
    words = [f"dsm={dsm}", f"nir={nir}", f"rgb={rgb}"]
    with open_scene(parse_inputs(words, ["dsm", "nir", "rgb"]), EXPECTED) as (_, grid):
        assert grid.crs.to_epsg() == 2154 and grid.transform == PLACE


def test_words_that_cannot_be_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "rgb.tif", colours(0, 3))
    assert "does not say which modality" in refused(str(path))
    assert "no modality 'sar'; it has: rgb, dsm, nir" in refused(f"sar={path}")
    assert "Two files are given for rgb" in refused(f"rgb={path}", f"rgb={path}")
    assert "There is no file" in refused(f"rgb={path}x")
    assert "No input is given" in refused()


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    rgb = write(tmp_path / "rgb.tif", colours(0, 3))
    with_rgb = f"rgb={rgb}"
    assert "has no band 4; its bands are 1 to 3" in refused(f"nir={rgb}:4")
    assert f"choose them with nir={rgb}:1" in refused(f"nir={rgb}")
    assert "takes 3 band(s), but 2" in refused(f"rgb={rgb}:1,2")
    wide = write(tmp_path / "wide.tif", colours(0, 3).astype(np.uint16))
    assert "holds uint16 values, but this run was trained on uint8" in refused(f"rgb={wide}")
    other = write(tmp_path / "other.tif", colours(1, 1), crs="EPSG:32631")
    assert "EPSG:32631 and EPSG:2154" in refused(with_rgb, f"nir={other}")
    coarse = write(
        tmp_path / "coarse.tif",
        colours(1, 1, 20, 15),
        transform=from_origin(770550, 6277600, 0.4, 0.4),
    )
    assert "has 20 x 15 pixels" in refused(with_rgb, f"nir={coarse}")
    same_size = write(
        tmp_path / "same.tif", colours(1, 1), transform=from_origin(770550, 6277600, 0.4, 0.4)
    )
    assert "corners up to 40.00 pixels apart" in refused(with_rgb, f"nir={same_size}")
    moved = write(
        tmp_path / "moved.tif", colours(1, 1), transform=from_origin(770550.1, 6277600, 0.2, 0.2)
    )
    assert "corners up to 0.50 pixels apart" in refused(with_rgb, f"nir={moved}")
    nothing = write(tmp_path / "nothing.tif", np.full((1, 40, 30), np.nan, np.float32))
    assert "has no valid pixel: leave dsm out" in refused(with_rgb, f"dsm={nothing}")


def test_damaged_files(tmp_path: Path) -> None:
    rgb = write(tmp_path / "rgb.tif", colours(0, 3, 400, 300))
    cut = tmp_path / "cut.tif"
    cut.write_bytes(rgb.read_bytes()[:-90000])
    assert "is cut short" in (text := refused(f"rgb={cut}")) or "cannot be read as an image" in text
    text_file = tmp_path / "text.tif"
    text_file.write_text("no image")
    assert "is no TIFF" in refused(f"rgb={text_file}")
    (tmp_path / "empty.tif").touch()
    assert "is empty" in refused(f"rgb={tmp_path / 'empty.tif'}")
