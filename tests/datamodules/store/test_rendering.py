"""Pictures of rasters against the same done pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.rasters.units import to_decibels
from datamodules.store.rendering import (
    ignore_colour,
    read_downsampled,
    render_label,
    render_modality,
)
from datamodules.store.scene_store import Modality, SceneClass
from usererror import UserError


def modality(kind="optical", channels=1, dtype="uint8", unit="counts"):
    return Modality("m", "M", channels, dtype, unit, kind)


def blocks(pixels, factor):
    """Yield (row, column, (C, n) values) of each block; incomplete ones as they are."""
    for row in range(0, pixels.shape[1], factor):
        for col in range(0, pixels.shape[2], factor):
            block = pixels[:, row : row + factor, col : col + factor]
            yield row // factor, col // factor, block.reshape(len(pixels), -1)


def test_shrinking_takes_means_of_valid_values(tmp_path, write_raster):
    draw = np.random.default_rng(0)
    heights = draw.normal(30, 9, (1, 1200, 90)).astype(np.float32)
    heights[draw.random(heights.shape) < 0.3] = -9999
    heights[0, :12, :12] = np.nan
    write_raster(tmp_path / "a.tif", heights)
    small = read_downsampled(tmp_path / "a.tif", modality("height_absolute", dtype="float32"), 200)
    assert small.shape == (1, 200, 15)
    for row, col, values in blocks(heights, 6):
        valid = values[np.isfinite(values) & (values > -100)]
        expected = valid.mean() if valid.size else np.nan
        assert small[0, row, col] == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_shrinking_keeps_thin_returns_and_whole_labels(tmp_path, write_raster):
    draw = np.random.default_rng(0)
    returns = np.zeros((3, 700, 650), np.uint8)
    returns[:, draw.random((700, 650)) < 0.002] = 200
    write_raster(tmp_path / "lidar.tif", returns)
    small = read_downsampled(tmp_path / "lidar.tif", modality("lidar", 3), 100)
    for row, col, values in blocks(returns, 7):
        assert small[0, row, col] == values.max()
    label = np.kron(draw.integers(0, 9, (1, 100, 100)), np.ones((1, 7, 7), int)).astype(np.uint8)
    write_raster(tmp_path / "label.tif", label)
    np.testing.assert_array_equal(
        read_downsampled(tmp_path / "label.tif", None, 100), label[:, ::7, ::7]
    )


def test_the_colours_of_sentinel_2_are_its_bands_4_3_2(tmp_path, write_raster):
    pixels = np.random.default_rng(0).integers(0, 9000, (13, 20, 30)).astype(np.uint16)
    write_raster(tmp_path / "a.tif", pixels)
    msi = modality(channels=13, dtype="uint16")
    read = read_downsampled(tmp_path / "a.tif", msi, 50)
    np.testing.assert_array_equal(read, pixels[[3, 2, 1]])
    whole, part = render_modality(pixels, msi), render_modality(read, msi)
    np.testing.assert_array_equal(whole.image, part.image)
    assert whole.bands == (4, 3, 2)


def test_a_small_raster_is_read_as_it_is_and_at_most_three_bands_of_it(tmp_path, write_raster):
    pixels = np.random.default_rng(0).integers(-500, 500, (12, 40, 50)).astype(np.int16)
    write_raster(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(
        read_downsampled(tmp_path / "a.tif", modality(channels=12, dtype="int16"), 50), pixels[:3]
    )
    with pytest.raises(UserError, match=r"b\.tif is no TIFF"):
        (tmp_path / "b.tif").write_bytes(b"something else")
        read_downsampled(tmp_path / "b.tif", modality(), 50)


def test_colours_stay_and_other_bands_are_stretched_between_percentiles():
    draw = np.random.default_rng(0)
    rgb = draw.integers(0, 256, (3, 20, 30), dtype=np.uint8)
    np.testing.assert_array_equal(
        render_modality(rgb, modality(channels=3)).image, rgb.transpose(1, 2, 0) / 255
    )
    values = draw.normal(0, 1000, (2, 20, 30)).astype(np.int16)
    shown = render_modality(values, modality("other", 2, "int16"))
    low, high = np.percentile(values[0], (2, 98))
    assert (shown.low, shown.high, shown.bands) == (pytest.approx(low), pytest.approx(high), (1,))
    np.testing.assert_allclose(shown.image, np.clip((values[0] - low) / (high - low), 0, 1))


def test_invalid_pixels_do_not_move_the_stretch():
    heights = np.linspace(10, 20, 600).reshape(1, 20, 30).astype(np.float32)
    holed = heights.copy()
    holed[0, 3, :5] = (np.nan, np.inf, -9999, -np.inf, -101)
    kind = modality("height_normalised", dtype="float32", unit="m")
    whole, shown = render_modality(heights, kind), render_modality(holed, kind)
    assert np.isnan(shown.image[3, :5]).all() and np.isfinite(shown.image).sum() == 595
    assert shown.low == pytest.approx(whole.low, abs=0.1) and shown.high == pytest.approx(
        whole.high, abs=0.1
    )
    nothing = render_modality(np.full((1, 4, 4), np.nan, np.float32), kind)
    assert np.isnan(nothing.image).all()


def test_radar_is_shown_in_decibels_and_returns_from_nothing():
    linear = np.random.default_rng(0).gamma(2, 0.1, (1, 30, 30)).astype(np.float32)
    shown = render_modality(linear, modality("sar_linear", dtype="float32", unit="linear"))
    low, high = np.percentile(to_decibels(linear), (2, 98))
    assert (shown.low, shown.high, shown.unit) == (pytest.approx(low), pytest.approx(high), "dB")
    returns = np.zeros((3, 30, 30), np.uint8)
    returns[1, 5, 6] = 17  # one weak return in 900 pixels
    shown = render_modality(returns, modality("lidar", 3))
    assert np.argwhere(shown.image > 0).tolist() == [[5, 6]] and shown.low == 0
    assert not render_modality(np.zeros((3, 4, 4), np.uint8), modality("lidar", 3)).image.any()


def test_the_colour_of_no_class_is_taken_by_none():
    def classes(*colours):
        return [SceneClass(i, str(i), colour) for i, colour in enumerate(colours)]

    assert ignore_colour(classes((255, 255, 255), (0, 0, 255))) == (0, 0, 0)
    assert ignore_colour(classes((10, 10, 10), (0, 0, 255))) == (255, 0, 255)
    crowded = classes(
        (0, 0, 0), (255, 0, 255), (128, 128, 128), (255, 255, 255), (255, 0, 0), (0, 255, 0)
    )
    chosen = np.array(ignore_colour(crowded))
    assert min(np.linalg.norm(chosen - entry.color) for entry in crowded) >= 64
    drawn = render_label(np.array([[0, 1, 2, 255]]), classes((1, 2, 3), (4, 5, 6)), (7, 8, 9))
    assert drawn.tolist() == [[[1, 2, 3], [4, 5, 6], [7, 8, 9], [7, 8, 9]]]
