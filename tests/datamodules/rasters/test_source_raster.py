"""What a file says of itself: each statement against a file that GDAL wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from datamodules.rasters.raster_file import check_intact, open_raw
from datamodules.rasters.source_raster import SourceRaster
from tests.support.placed import write
from usererror import UserError

DRAW = np.random.default_rng(3)


def seen(path: Path, kind: str = "other", **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read a whole file: values, and where they are void by NaN or mask."""
    with open_raw(path, path.name) as dataset:
        raster = SourceRaster(dataset, path.name, **how)
        values, void = raster.read(0, 0, dataset.height, dataset.width, kind)
    if void is None:
        void = np.isnan(values).any(axis=0) if values.dtype.kind == "f" else values[0] != values[0]
    return values, void


def colours(bands: int, dtype: str = "uint8") -> np.ndarray:
    return DRAW.integers(1, 250, (bands, 20, 30)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "tag"), [("int16", -32768), ("uint16", 65535), ("uint8", 0), ("float32", -9999)]
)
def test_tags_are_believed_for_every_type_or_declared_wrong(dtype, tag, tmp_path):
    values = colours(1, dtype)
    values[0, 2, 3:9] = tag
    path = write(tmp_path / "a.tif", values, nodata=tag)
    found, void = seen(path)
    np.testing.assert_array_equal(void, values[0] == tag)
    np.testing.assert_array_equal(found[0][~void], values[0][~void])
    found, void = seen(path, believe=False)
    np.testing.assert_array_equal(found, values)
    assert not void.any()


def test_a_colour_may_be_the_tag_a_measurement_not(tmp_path):
    for tag, some in ((0, False), (-9999, True)):
        values = colours(2, "int16")
        values[0, 1, 1] = tag
        values[:, 4, 4] = tag
        void = seen(write(tmp_path / "a.tif", values, nodata=tag))[1]
        assert void[4, 4] and void[1, 1] == some and void.sum() == 1 + some


@pytest.mark.parametrize("inside", [True, False])
def test_masks(inside, tmp_path):
    path, valid = write(tmp_path / "a.tif", colours(3)), np.full((20, 30), 255, np.uint8)
    valid[5:, :4] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as file:
        file.write_mask(valid)
    assert (tmp_path / "a.tif.msk").exists() != inside
    np.testing.assert_array_equal(seen(path)[1], valid == 0)


def test_a_mask_of_each_band(tmp_path):
    path, masks = write(tmp_path / "a.tif", colours(3)), np.full((3, 20, 30), 255, np.uint8)
    masks[1, 5:, :4] = 0
    write(tmp_path / "a.tif.msk", masks, crs=None, transform=None)
    with rasterio.open(tmp_path / "a.tif.msk", "r+") as file:
        file.update_tags(**{f"INTERNAL_MASK_FLAGS_{band}": 0 for band in (1, 2, 3)})
    np.testing.assert_array_equal(seen(path)[1], masks[1] == 0)


def test_a_mask_that_refers_to_other_files_is_not_opened(tmp_path):
    path, other = write(tmp_path / "a.tif", colours(1)), write(tmp_path / "b.tif", 0 * colours(1))
    (tmp_path / "a.tif.msk").write_text(
        '<VRTDataset rasterXSize="30" rasterYSize="20"><Metadata>'
        '<MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata>'
        '<VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{other}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(path, driver="GTiff") as file:  # what it does to GDAL alone
        assert not file.read_masks(1).any()
    assert not seen(path)[1].any()


def test_alpha_is_a_mask_and_infrared_is_not_alpha(tmp_path):
    rgba = colours(4)
    rgba[3], rgba[3, :7] = 255, 0
    values, void = seen(write(tmp_path / "a.tif", rgba))
    assert len(values) == 3 and void[:7].all() and not void[7:].any()
    # GDAL calls the fourth band of 8 bits alpha where nobody says what it is
    rgbi = colours(4)
    rgbi[3, :7] = 0
    path = write(tmp_path / "b.tif", rgbi)
    with rasterio.open(path) as file:
        assert file.colorinterp[3].name == "alpha"
    values, void = seen(path)
    np.testing.assert_array_equal(values, rgbi)
    assert not void.any()


def test_palettes_are_colours_but_for_labels(tmp_path):
    index = (colours(1) % 3).astype(np.uint8)
    table = {0: (10, 20, 30, 255), 1: (0, 0, 0, 255), 2: (7, 7, 200, 255)}
    path = write(tmp_path / "a.png", index, driver="PNG", crs=None, transform=None)
    path = write(tmp_path / "a.tif", index)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, table)
    lookup = np.array([table[i][:3] for i in range(3)], np.uint8)
    np.testing.assert_array_equal(seen(path)[0], lookup[index[0]].transpose(2, 0, 1))
    np.testing.assert_array_equal(seen(path, label=True)[0], index)


def test_scale_and_offset_are_applied_where_a_pixel_says_something(tmp_path):
    centimetres = colours(1, "int16")
    centimetres[0, 0, 0] = -32768
    path = write(tmp_path / "a.tif", centimetres, nodata=-32768)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.01,), (300.0,)
    values, void = seen(path, "height_absolute")
    assert values.dtype == np.float32 and void.sum() == 1 and void[0, 0]
    expected = centimetres[0][~void] * 0.01 + 300
    np.testing.assert_allclose(values[0][~void], expected, rtol=1e-6)


def test_bands_stand_in_the_order_of_their_colours_unless_asked_for_as_they_lie(tmp_path):
    bands = colours(4)
    path = write(tmp_path / "a.tif", bands, photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[name] for name in ("blue", "green", "red", "undefined")]
    np.testing.assert_array_equal(seen(path)[0], bands[[2, 1, 0, 3]])
    np.testing.assert_array_equal(seen(path, bands=(1, 4))[0], bands[[2, 3]])
    np.testing.assert_array_equal(seen(path, bands=(1, 4), by_colour=False)[0], bands[[0, 3]])
    with open_raw(path, "a.tif") as dataset:
        assert not SourceRaster(dataset, "a.tif").is_plain


@pytest.mark.parametrize("scale", [0, np.nan, np.inf])
def test_a_scale_without_a_meaning_is_asked_for(scale, tmp_path):
    path = write(tmp_path / "a.tif", colours(1))
    with rasterio.open(path, "r+") as file:
        file.scales = (scale,)
    with pytest.raises(UserError, match=rf"a\.tif says .* scale {scale}"):
        seen(path)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_numbers_are_refused(dtype, tmp_path):
    size = {"count": 1, "height": 20, "width": 30}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", dtype=dtype, **size) as file:
        file.write(colours(1, "complex64"))
    with pytest.raises(UserError, match=r"a\.tif holds complex numbers"):
        seen(tmp_path / "a.tif")


def test_a_picture_that_is_to_be_turned_is_refused(tmp_path):
    from PIL import Image

    turn = Image.Exif()
    for value in (1, 3):
        turn[0x0112] = value
        Image.fromarray(colours(1)[0]).save(tmp_path / f"{value}.jpg", exif=turn)
    seen(tmp_path / "1.jpg")
    with pytest.raises(UserError, match="EXIF orientation 3"):
        seen(tmp_path / "3.jpg")


def test_pages_are_refused(tmp_path):
    from PIL import Image

    pages = [Image.fromarray(page) for page in colours(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match=r"a\.tif holds 2 pages"):
        seen(tmp_path / "a.tif")


def test_a_sparse_file_is_whole_and_an_empty_one_is_not(tmp_path):
    values = np.zeros((1, 600, 600), np.uint8)
    values[0, :300, :300] = 7
    how = {"tiled": True, "blockxsize": 256, "blockysize": 256, "SPARSE_OK": True}
    path = write(tmp_path / "a.tif", values, **how)
    check_intact(path, "a.tif")
    np.testing.assert_array_equal(seen(path)[0], values)
    path = write(tmp_path / "b.tif", 0 * values, **how)
    with pytest.raises(UserError, match=r"b\.tif is cut short"):
        check_intact(path, "b.tif")


def test_rows_from_below(tmp_path):
    values = colours(1)
    with open_raw(write(tmp_path / "a.tif", values), "a.tif") as dataset:
        raster = SourceRaster(dataset, "a.tif")
        raster.upside_down = True
        np.testing.assert_array_equal(raster.read(2, 1, 5, 6)[0], values[:, ::-1][:, 2:7, 1:7])
