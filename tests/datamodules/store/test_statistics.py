from __future__ import annotations

import numpy as np
import pytest

from datamodules.store.statistics import PixelHash, RasterStatistics, histogram_uint8


@pytest.mark.parametrize("is_height", [True, False])
def test_statistics_leave_out_what_is_no_height(is_height):
    values = np.random.default_rng(0).normal(30, 4, (1, 64, 48)).astype(np.float32)
    values[0, 3, 5:9] = [np.nan, np.inf, -9999, -3.4e38]
    # 3.4e38 is a fill in any unit, -9999 only where it cannot be measured
    valid = (values > -1e30) & (values < 1e30) & ((values > -100) | (not is_height))
    statistics = RasterStatistics(1, "float32", 64, 48, "height_absolute" if is_height else "other")
    for row in range(0, 64, 10):
        statistics.update(values[:, row : row + 10])
    found = statistics.result()
    assert found["count"] == valid.sum()
    assert found["min"] == [values[valid].min()]
    if is_height:
        np.testing.assert_allclose(
            found["mean"], values[valid].astype(np.float64).mean(), rtol=1e-12
        )
        np.testing.assert_allclose(found["std"], values[valid].astype(np.float64).std(), rtol=1e-9)


def test_linear_backscatter_is_measured_in_decibels():
    """0.1 is -10 dB, nothing and negative ones are the lower end, 4 the upper; NaN is left out."""
    values = np.array([[[0.1, 0.1, 0.0, -3.0, 4.0, np.nan]]], np.float32)
    statistics = RasterStatistics(1, "float32", 1, 6, "sar_linear")
    statistics.update(values)
    found = statistics.result()
    assert found["count"] == 5 and found["min"] == [-25.0] and found["max"] == [0.0]
    np.testing.assert_allclose(found["mean"], [(-10 - 10 - 25 - 25 - 0) / 5], atol=1e-4)
    assert values[0, 0, 4] == 4  # the raster itself stays as it is


def test_pixel_hash_knows_values_shape_and_type_but_not_blocks():
    values = np.arange(2 * 30 * 7, dtype=np.uint16).reshape(2, 30, 7)

    def digest(array, step=30):
        hash_ = PixelHash(len(array), str(array.dtype))
        for row in range(0, array.shape[1], step):
            hash_.update(array[:, row : row + step])
        return hash_.hexdigest()

    assert digest(values) == digest(values, 7) == digest(np.asfortranarray(values), 1)
    others = [
        values + np.uint16(1),
        values.astype(np.int16),
        values.reshape(2, 7, 30),
        values[:, ::-1],
        values[::-1],
    ]
    assert len({digest(other) for other in [values, *others]}) == 6


@pytest.mark.parametrize("size", [0, 7, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_histogram_counts_every_byte(size):
    values = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    counts = histogram_uint8(values)
    assert counts.sum() == size
    assert all(counts[value] == (values == value).sum() for value in (0, 1, 127, 255))


def test_percentiles_of_large_rasters_come_from_a_grid(monkeypatch):
    """A ramp along the rows: a regular grid finds the percentiles to within its spacing."""
    monkeypatch.setattr("datamodules.store.statistics.PERCENTILE_PIXELS", 10_000)
    ramp = np.repeat(np.arange(600, dtype=np.float32)[:, None], 500, axis=1)[None]
    statistics = RasterStatistics(1, "float32", 600, 500, "other")
    for row in range(0, 600, 256):
        statistics.update(ramp[:, row : row + 256])
    found = statistics.result()
    assert abs(found["p05"][0] - 30) <= 6 and abs(found["p95"][0] - 570) <= 6
    assert found["count"] == 300_000 and found["mean"] == [299.5]
