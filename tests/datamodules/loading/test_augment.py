"""Augmentation: one geometry for all modalities and the label; colours of optical ones only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.loading.augment import Geometry, color_jitter, random_geometry


def test_image_and_label_move_together() -> None:
    ids = torch.arange(6)[
        torch.randint(0, 6, (8, 8), generator=torch.Generator().manual_seed(0))
    ].to(torch.uint8)
    seen = set()
    for seed in range(60):
        geometry = random_geometry(np.random.default_rng(seed), 8, (1.0, 1.0), nadir=True)
        moved = geometry.apply_to_mask(ids)
        assert torch.equal(geometry.apply_to_image(ids[None].float())[0].to(torch.uint8), moved)
        assert torch.equal(moved.flatten().sort().values, ids.flatten().sort().values)
        seen.add(tuple(moved.flatten().tolist()))
    assert len(seen) == 8, "quarter turns and mirror images of a square are eight"


def test_a_camera_that_looks_ahead_is_only_mirrored() -> None:
    draws = [
        random_geometry(np.random.default_rng(seed), 8, (0.5, 2.0), nadir=False)
        for seed in range(50)
    ]
    assert {draw.turns for draw in draws} == {0} and {draw.mirror_rows for draw in draws} == {False}
    assert {draw.mirror_columns for draw in draws} == {True, False}


def test_without_quarter_turns_the_four_mirror_images_remain() -> None:
    seen = set()
    for seed in range(60):
        draw = random_geometry(np.random.default_rng(seed), 8, (1.0, 1.0), True, False)
        seen.add((draw.turns, draw.mirror_columns, draw.mirror_rows))
    assert seen == {(0, one, other) for one in (False, True) for other in (False, True)}


def test_every_other_window_is_turned_and_nothing_else_changes() -> None:
    angles = []
    for seed in range(400):
        plain = random_geometry(np.random.default_rng(seed), 8, (0.5, 2.0), True)
        turned = random_geometry(np.random.default_rng(seed), 8, (0.5, 2.0), True, rotation=90.0)
        assert replace(turned, angle=0.0) == plain
        angles.append(turned.angle)
    assert 150 < sum(angle != 0 for angle in angles) < 250
    assert -90 <= min(angles) < -80 and 80 < max(angles) <= 90


def test_a_turn_by_ninety_degrees_is_a_quarter_turn() -> None:
    ids = torch.arange(64, dtype=torch.uint8).view(8, 8)
    turned = Geometry(8, 8, 0, False, False, angle=90.0)
    quarter = torch.rot90(ids, 1 if turned.apply_to_mask(ids)[0, 0] == ids[0, -1] else 3)
    assert torch.equal(turned.apply_to_mask(ids), quarter)
    image = turned.apply_to_image(ids[None].float())[0]
    assert torch.allclose(image, quarter.float(), atol=1e-3)


def test_turned_corners_have_no_label_and_no_foreign_value() -> None:
    ids, turned = (
        torch.full((64, 64), 3, dtype=torch.uint8),
        Geometry(64, 64, 0, False, False, 45.0),
    )
    mask = turned.apply_to_mask(ids)
    assert set(mask.unique().tolist()) == {3, 255} and mask[0, 0] == 255 and mask[32, 32] == 3
    # an octagon remains of a square turned by 45 degrees
    assert float((mask == 3).float().mean()) == pytest.approx(2 * (2**0.5 - 1), abs=0.02)
    image = turned.apply_to_image(torch.full((1, 64, 64), 300.0))
    assert torch.allclose(image, torch.full_like(image, 300.0))


def test_scale_jitter_reads_between_half_and_twice_the_window() -> None:
    sides = [
        random_geometry(np.random.default_rng(seed), 100, (0.5, 2.0), True).side
        for seed in range(300)
    ]
    assert 50 <= min(sides) < 55 and 180 < max(sides) <= 200


def test_resizing_keeps_constants_and_classes() -> None:
    geometry = Geometry(side=20, window=8, turns=0, mirror_columns=False, mirror_rows=False)
    assert torch.allclose(
        geometry.apply_to_image(torch.full((3, 20, 20), 7.0)), torch.full((3, 8, 8), 7.0)
    )
    labels = geometry.apply_to_mask(torch.tensor([0, 255], dtype=torch.uint8).repeat(20, 10))
    assert labels.shape == (8, 8) and set(labels.unique().tolist()) <= {0, 255}


def test_colour_jitter_leaves_heights_alone_and_stays_in_range() -> None:
    images = {"rgb": torch.rand(3, 5, 5) * 255, "dsm": torch.rand(1, 5, 5)}
    jittered = color_jitter(np.random.default_rng(0), images, {"rgb": 255.0}, 0.5)
    assert jittered["dsm"] is images["dsm"]
    assert not torch.equal(jittered["rgb"], images["rgb"])
    assert jittered["rgb"].min() >= 0 and jittered["rgb"].max() <= 255
    unchanged = color_jitter(np.random.default_rng(0), images, {"rgb": 255.0}, 0.0)
    assert torch.equal(unchanged["rgb"], images["rgb"])


def test_contrast_of_many_bands_changes_each_about_its_own_mean() -> None:
    bands = torch.rand(13, 8, 8) + torch.logspace(0, 3, 13)[:, None, None]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        brightness, contrast, _ = np.random.default_rng(seed).uniform(0.8, 1.2, 3)
        jittered = color_jitter(rng, {"optical": bands}, {"optical": 32767.0}, 0.2)["optical"]
        torch.testing.assert_close(jittered.mean((1, 2)), brightness * bands.mean((1, 2)))
        spread = brightness * contrast * bands.std((1, 2))
        torch.testing.assert_close(jittered.std((1, 2)), spread, rtol=1e-3, atol=1e-3)
