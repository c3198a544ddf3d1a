"""Damage of optical images against its definitions."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from datamodules.damage.atmosphere import Clouds, Haze
from datamodules.damage.camera import ColourCast, Jpeg, SensorNoise, Tone
from datamodules.damage.fields import field_key
from datamodules.damage.optics import Defocus, MotionBlur, disc, line
from tests.support.damages import scene_values, site_of

RGB = scene_values("optical")
FLAT = np.full((3, 256, 256), 100, np.float32)


def test_haze_mixes_ground_and_airlight_by_the_transmission() -> None:
    site, haze = site_of(RGB, top=255.0), Haze(0.6)
    seen = haze.find_transmission(site)
    expected = RGB * seen + 0.8 * 255 * (1 - seen)
    np.testing.assert_allclose(haze.apply(RGB, site), expected, rtol=1e-6)
    even = Haze(0.6, variation=0).find_transmission(site)
    np.testing.assert_allclose(even, 0.6, rtol=1e-6)


def test_the_median_transmission_is_the_one_named() -> None:
    draws = []
    for number in range(60):
        site = site_of(FLAT, top=255.0, key=field_key("haze", number))
        draws.append(Haze(0.6).find_transmission(site)[0, ::64, ::64])
    # half of the draws lie below; neighbours are alike, so five standard errors of 60 draws
    assert abs(float((np.array(draws) < 0.6).mean()) - 0.5) < 5 * 0.5 / np.sqrt(60)


@pytest.mark.parametrize("cover", [0.1, 0.35, 0.7])
def test_clouds_cover_their_share_of_many_scenes(cover: float) -> None:
    shares = []
    for number in range(40):
        site = site_of(FLAT, top=255.0, key=field_key("clouds", number))
        shares.append((Clouds(cover).find_opacity(site) >= 0.5).mean())
    # of the scenes' own scatter, five standard errors
    assert abs(np.mean(shares) - cover) < 5 * np.std(shares) / np.sqrt(len(shares))


def test_shadows_are_the_clouds_moved_and_darken_by_their_share() -> None:
    clouds, site = Clouds(0.4, down=40, right=24, shade=0.6), site_of(FLAT, top=255.0)
    opacity, shadow = clouds.find_opacity(site), clouds.find_shadow(site)
    np.testing.assert_array_equal(shadow[:, 40:, 24:], opacity[:, :-40, :-24])
    damaged = clouds.apply(FLAT, site)
    only_shadow, only_cloud = (opacity == 0) & (shadow == 1), opacity == 1
    assert only_shadow.any() and only_cloud.any()
    np.testing.assert_allclose(damaged[:, only_shadow[0]], 40, rtol=1e-5)
    np.testing.assert_allclose(damaged[:, only_cloud[0]], 0.95 * 255, rtol=1e-5)


@pytest.mark.parametrize("radius", [1, 2, 3.5, 6])
def test_a_point_becomes_a_disc(radius: float) -> None:
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    reach = len(kernel) // 2
    edges = np.clip(np.arange(-reach, reach + 2) - 0.5, -radius, radius)
    # area of a disc left of x, without a constant
    area = edges * np.sqrt(radius**2 - edges**2) + radius**2 * np.arcsin(edges / radius)
    strips = np.diff(area) / (np.pi * radius**2)
    np.testing.assert_allclose(kernel.sum(0), strips, atol=5e-3)
    np.testing.assert_allclose(kernel.sum(1), strips, atol=5e-3)
    check_impulse(Defocus(radius), kernel)


@pytest.mark.parametrize("length", [3, 9, 21])
def test_a_point_becomes_a_line_of_the_length_in_the_direction(length: float) -> None:
    for angle in (0.0, 0.4, np.pi / 2, 2.5):
        kernel = line(length, angle)
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
        away = np.arange(len(kernel)) - len(kernel) // 2
        rows, cols = np.meshgrid(away, away, indexing="ij")
        along = cols * np.cos(angle) + rows * np.sin(angle)
        across = rows * np.cos(angle) - cols * np.sin(angle)
        # variance of a line: length^2 / 12; splitting a point between pixels adds up to 1/4
        assert length**2 / 12 - 1e-2 < (kernel * along**2).sum() < length**2 / 12 + 0.26
        assert (kernel * across**2).sum() < 0.26


def check_impulse(damage: Defocus | MotionBlur, kernel: np.ndarray) -> None:
    point = np.zeros((1, 61, 61), np.float32)
    point[0, 30, 30] = 200
    response = damage.apply(point, site_of(point, top=255.0))
    reach = len(kernel) // 2
    inside = np.s_[0, 30 - reach : 31 + reach, 30 - reach : 31 + reach]
    np.testing.assert_allclose(response[inside], 200 * kernel[::-1, ::-1], atol=1e-4)
    assert response.sum() == pytest.approx(200, rel=1e-5)


@pytest.mark.parametrize("damage", [Defocus(4), MotionBlur(9)], ids=["defocus", "motion"])
def test_blur_agrees_with_scipy(damage: Defocus | MotionBlur) -> None:
    site = site_of(RGB, top=255.0)
    if isinstance(damage, Defocus):
        kernel = disc(4)
    else:
        # the response to a point is the kernel, turned around
        point = np.zeros((1, 61, 61), np.float32)
        point[0, 30, 30] = 1
        kernel = damage.apply(point, site)[0, ::-1, ::-1].astype(float)
    expected = ndimage.correlate(RGB.astype(float), kernel[None], mode="nearest")
    np.testing.assert_allclose(damage.apply(RGB, site), expected, atol=1e-3)


def test_the_direction_of_motion_is_the_scene_s() -> None:
    angles = set()
    for number in range(20):
        site = site_of(RGB, top=255.0, key=field_key("motion", number))
        angles.add(MotionBlur(9).apply(RGB, site).tobytes())
    assert len(angles) == 20


@pytest.mark.parametrize("electrons", [150, 2500])
def test_noise_has_the_variance_of_light_and_read_out(electrons: float) -> None:
    for level in (60, 100, 140, 180):
        flat = np.full((1, 300, 300), level, np.float32)
        noisy = SensorNoise(electrons, read=3).apply(flat, site_of(flat, top=255.0))
        # in electrons: variance = mean + read^2
        arrived = noisy.astype(float) / 255 * electrons
        mean = level / 255 * electrons
        assert arrived.mean() == pytest.approx(mean, abs=5 * np.sqrt((mean + 9) / 90000))
        assert arrived.var() == pytest.approx(mean + 9, rel=5 * np.sqrt(2 / 90000))


def test_tones_move_about_the_middle_and_are_cut() -> None:
    site = site_of(RGB, top=255.0)
    expected = np.clip((RGB.astype(float) - 127.5) * 0.3 + 127.5 + 0.2 * 255, 0, 255)
    np.testing.assert_allclose(Tone(0.2, 0.3).apply(RGB, site), expected, atol=1e-3)
    assert Tone(0.5).apply(RGB, site).max() == 255


def test_gains_run_from_warm_to_cold_or_back() -> None:
    found = set()
    for number in range(20):
        site = site_of(FLAT, top=255.0, key=field_key("cast", number))
        cast = ColourCast(0.3)
        found.add(tuple(np.rint(cast.apply(FLAT, site)[:, 0, 0]).tolist()))
        assert abs(float(cast.find_gains(site, 1).item()) - 1) == pytest.approx(0.3, rel=1e-6)
    assert found == {(130, 100, 70), (70, 100, 130)}


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_the_whole_picture(channels: int) -> None:
    pixels = RGB[:channels, :144, :160].astype(np.uint8)
    file = BytesIO()
    picture = pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1)
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=30)
    expected = np.asarray(Image.open(file))
    expected = expected[None] if channels == 1 else np.moveaxis(expected, -1, 0)
    values = pixels.astype(np.float32)
    damaged = Jpeg(30).apply(values, site_of(values, top=255.0))
    np.testing.assert_array_equal(damaged, expected)


def test_two_channels_are_two_grey_pictures() -> None:
    both = RGB[:2, :144, :160]
    damaged = Jpeg(30).apply(both, site_of(both, top=255.0))
    for number in range(2):
        one = both[number : number + 1]
        alone = Jpeg(30).apply(one, site_of(one, top=255.0))
        np.testing.assert_array_equal(damaged[number], alone[0])


def test_deeper_values_than_bytes_are_damaged_alike() -> None:
    """Reflectance of a scene from 0 to 1 suffers what its picture in bytes does."""
    bytes_ = RGB.copy()
    bytes_[:, 0, :2] = (0, 255)
    deep = bytes_ / np.float32(255)
    damages = [Haze(0.5), Clouds(0.4), SensorNoise(500), Jpeg(30), Tone(0, 0.5)]
    for damage in damages:
        expected = damage.apply(bytes_, site_of(bytes_, top=255.0)) / 255
        found = damage.apply(deep, site_of(deep))
        # noise of bytes is cut at 0 and 255, for which reflectance has no limit
        np.testing.assert_allclose(found.clip(0, 1), expected.clip(0, 1), atol=2e-4)
