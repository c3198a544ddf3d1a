"""Shifts, dead lines, coarse pixels and holes against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from datamodules.damage.coverage import Holes, Ragged
from datamodules.damage.fields import field_key
from datamodules.damage.readout import Coarse, DeadLines, Shift
from datamodules.store.reader import Window
from tests.support.damages import scene_values, site_of

RGB = scene_values("optical")
KEYS = [field_key("scene", number) for number in range(40)]
EMPTY = np.zeros((2, 300, 280), np.float32)


@pytest.mark.parametrize("pixels", [1, 2, 4, 8])
def test_a_shift_moves_by_whole_pixels_along_an_axis(pixels: int) -> None:
    found = set()
    centred = RGB[0] - RGB[0].mean()
    for key in KEYS[:12]:
        moved = Shift(pixels).apply(RGB, site_of(RGB, top=255.0, key=key))[0]
        # where the cross-correlation is largest
        spectrum = np.fft.fft2(moved - moved.mean()) * np.conj(np.fft.fft2(centred))
        peak = np.unravel_index(np.argmax(np.fft.ifft2(spectrum).real), moved.shape)
        sides = zip(peak, moved.shape, strict=True)
        found.add(tuple((int(at) + side // 2) % side - side // 2 for at, side in sides))
    assert found <= {(pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)}
    assert len(found) > 1


def test_a_modality_keeps_its_direction_in_every_severity() -> None:
    for key in KEYS:
        site = site_of(EMPTY, key=key)
        assert len({Shift(pixels).find_direction(site) for pixels in (1, 2, 4, 8)}) == 1


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_dead_lines_are_a_share_of_the_columns_or_rows(share: float) -> None:
    lost = total = upright = 0
    for key in KEYS:
        site = site_of(EMPTY, key=key)
        lines = DeadLines(share).find_lines(site)
        assert sorted(lines.shape)[0] == 1
        lost, total = lost + int(lines.sum()), total + lines.size
        upright += lines.shape[0] == 1
    # five deviations of a binomial
    assert abs(lost - share * total) < 5 * np.sqrt(total * share * (1 - share))
    assert 8 <= upright <= 32


def test_dead_lines_hold_what_pixels_without_measurement_do() -> None:
    site = site_of(RGB, top=255.0)
    damaged, lines = DeadLines(0.2).apply(RGB, site), DeadLines(0.2).find_lines(site)
    lines = np.broadcast_to(lines, RGB.shape[1:])
    for channel, before, fill in zip(damaged, RGB, site.fill, strict=True):
        assert (channel[lines] == fill).all()
        np.testing.assert_array_equal(channel[~lines], before[~lines])


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_coarse_pixels_are_means_of_blocks(factor: int) -> None:
    """Against blocks taken with scipy and brought back by its linear interpolation."""
    values = RGB[:, :144, :160]
    blocks = np.arange(144)[:, None] // factor * 1000 + np.arange(160) // factor
    found = Coarse(factor).apply(values, site_of(values, "optical"))
    for channel, damaged in zip(values, found, strict=True):
        means = ndimage.mean(channel.astype(float), blocks, np.unique(blocks))
        means = np.array(means).reshape(144 // factor, 160 // factor)
        centres = [(np.arange(side) + 0.5) / factor - 0.5 for side in (144, 160)]
        grid = np.meshgrid(*centres, indexing="ij")
        expected = ndimage.map_coordinates(means, grid, order=1, mode="nearest")
        np.testing.assert_allclose(damaged, expected, atol=1e-3)


def test_blocks_of_radar_are_means_of_power() -> None:
    decibels = scene_values("sar")[:, :144, :160]
    found = Coarse(16).apply(decibels, site_of(decibels, "sar"))
    power = 10 ** (decibels.astype(float) / 10)
    mean = 10 * np.log10(power[0, :16, :16].mean())
    # the corner lies beyond the outermost centre, hence holds its block's mean
    assert found[0, 0, 0] == pytest.approx(mean, abs=1e-4)


def test_blocks_begin_at_the_corner_of_the_scene() -> None:
    values = RGB[:, 3:83, 5:85]
    whole = Coarse(4).apply(RGB, site_of(RGB, "optical"))
    part = Coarse(4).apply(values, site_of(values, "optical", place=Window(3, 5, 80, 80)))
    np.testing.assert_array_equal(part[:, 8:-8, 8:-8], whole[:, 11:75, 13:77])


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_ragged_holes_cover_their_share_of_many_scenes(share: float) -> None:
    shares = [Ragged(share).find_holes(site_of(EMPTY, key=key)).mean() for key in KEYS]
    assert abs(np.mean(shares) - share) < 5 * np.std(shares) / np.sqrt(len(KEYS))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_holes_cover_their_share_of_every_square(share: float) -> None:
    side = 128
    values = np.zeros((1, 3 * side, 4 * side), np.float32)
    holes = Holes(share, side).find_holes(site_of(values))
    shares = holes.reshape(3, side, 4, side).mean(axis=(1, 3))
    # a rim of half a pixel on either side of each edge is won or lost
    assert np.abs(shares - share).max() < 4 * side * 0.5 / side**2 + 1e-6


def test_holes_grow_with_the_severity_and_hold_the_fill() -> None:
    site = site_of(RGB, "optical", top=255.0)
    before = np.zeros(RGB.shape[1:], bool)
    for share in (0.05, 0.1, 0.35, 0.5):
        damaged, holes = Ragged(share).apply(RGB, site), Ragged(share).find_holes(site)[0]
        assert (holes >= before).all()
        assert (damaged[:, holes] == site.fill[..., 0]).all()
        np.testing.assert_array_equal(damaged[:, ~holes], RGB[:, ~holes])
        before = holes
