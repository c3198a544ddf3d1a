"""Published damage against its definition in plain torch, and labels that nothing touches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.adapters.registry import import_named_dataset
from datamodules.base import SceneDataModule
from datamodules.damage.fields import normal, uniform
from datamodules.damage.published import Blank, NoisyValues, RandomValues
from datamodules.damage.scenario import Scenario
from tests.support.damages import SCENARIOS, site_of
from usererror import UserError

VALUES = np.random.default_rng(1).normal(0, 1, (3, 90, 80)).astype(np.float32)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_random_values_are_the_published_ones(share: float) -> None:
    site = site_of(VALUES)
    kept = torch.from_numpy(uniform(site.key, site.place, 3) >= share)
    expected = torch.from_numpy(VALUES) * kept
    found = RandomValues(share).apply(VALUES, site)
    # -0.0, which a product leaves, is 0
    assert torch.equal(torch.from_numpy(found), expected)
    lost = int((found == 0).sum())
    assert abs(lost - share * found.size) < 5 * np.sqrt(found.size * share * (1 - share))


@pytest.mark.parametrize(("density", "deviation"), [(0.05, 0.1), (0.1, 0.2), (0.2, 0.5)])
def test_noisy_values_are_the_published_ones(density: float, deviation: float) -> None:
    site = site_of(VALUES)
    chance = torch.from_numpy(uniform((*site.key, 0), site.place, 3))
    noise = torch.from_numpy(normal((*site.key, 1), site.place, 3))
    tensor = torch.from_numpy(VALUES)
    expected = tensor.clone()
    expected[chance < density / 2] = tensor.min()
    expected[chance >= 1 - density / 2] = tensor.max()
    expected = expected + deviation * noise
    found = NoisyValues(density, deviation).apply(VALUES, site)
    assert torch.equal(torch.from_numpy(found), expected)


def test_a_blank_image_is_zero() -> None:
    assert not Blank().apply(VALUES, site_of(VALUES)).any()


@pytest.mark.parametrize(
    ("damage", "setting", "problem"),
    [
        ("shift", {"pixels": 1.5}, "pixels is 1.5, not a whole number"),
        ("jpeg", {"quality": 0}, "quality is 0, not within 1 to 95"),
        ("holes", {"share": 0.7}, "share is 0.7, not within 0 to 0.5"),
        ("haze", {"transmission": float("nan")}, "transmission is nan"),
        ("haze", {"visibility": 10}, "visibility"),
    ],
)
def test_a_wrong_setting_is_named(damage: str, setting: dict[str, float], problem: str) -> None:
    content = {"version": 1, "group": "own", "about": "mine", "damage": damage}
    with pytest.raises(UserError, match=f"severity worst: .*{problem}"):
        Scenario.parse("mine", {**content, "severities": {"worst": setting}})


def test_scenarios_touch_neither_labels_nor_regions_nor_clean_images(
    tmp_path: Path, write_folder: Callable[..., object]
) -> None:
    write_folder(tmp_path / "source")
    import_named_dataset("town", tmp_path / "source", tmp_path / "stores")
    data = SceneDataModule("town", str(tmp_path / "stores"), window=32, stride=16, num_workers=0)
    clean = data.evaluation_windows("test")
    before = [clean[0, index] for index in range(len(clean))]
    for scenario in SCENARIOS.values():
        if not any(scenario.affects(one.kind) for one in data.modalities.values()):
            continue
        data.scenario = scenario
        damaged = data.evaluation_windows("test")
        for index, sample in enumerate(before):
            found = damaged[0, index]
            assert found["damaged"]
            for part in ("mask", "region"):
                assert torch.equal(found[part], sample[part])
            for name, image in sample["image"].items():
                assert torch.equal(found["image"][name], image)
            assert found["window"] == sample["window"]
