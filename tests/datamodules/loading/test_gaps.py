"""Incomplete training: what is held back depends on seed, scene and modality alone, and is as if it
had never been there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import prod, sqrt
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from datamodules.adapters.registry import import_named_dataset
from datamodules.base import SceneDataModule
from datamodules.loading.gaps import draw_gaps, draw_uniform
from usererror import UserError

Folder = Callable[..., dict[str, dict[str, np.ndarray]]]
SCENES = 8
SPLITS = ("train",) * SCENES + ("val", "test")
THREE = {"rgb": 0.1, "dsm": 0.5, "nir": 0.7}


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Draws `(40000, 4)` of as many scenes."""
    names = ("rgb", "dsm", "nir", "sar")
    return np.array([[draw_uniform(3, f"s{i}", m) for m in names] for i in range(20_000)])


def test_draws_are_uniform_and_independent(drawn: np.ndarray) -> None:
    assert drawn.min() >= 0 and drawn.max() < 1
    scenes = len(drawn)
    # five standard errors of a mean, a variance and a correlation
    assert np.allclose(drawn.mean(0), 1 / 2, rtol=0, atol=5 / sqrt(12 * scenes))
    assert np.allclose(drawn.var(0), 1 / 12, rtol=0, atol=5 / sqrt(180 * scenes))
    assert np.allclose(np.corrcoef(drawn.T), np.eye(4), rtol=0, atol=5 / sqrt(scenes))


@pytest.mark.parametrize(
    "rates",
    [
        dict.fromkeys(("rgb", "dsm"), 0.3),
        dict.fromkeys(("rgb", "dsm", "nir"), 0.6),
        dict.fromkeys(("rgb", "dsm", "nir", "sar"), 0.95),
        THREE,
        {"rgb": 0.0, "dsm": 0.9},
        {"rgb": 0.9},
    ],
    ids=str,
)
def test_the_rates_are_those_of_the_closed_form(rates: dict[str, float]) -> None:
    """r - (r_1 r_2 ... r_M) / M: who stays where all would go is each of them equally often."""
    scenes = 20_000
    lost = [draw_gaps(f"s{number}", rates, seed=3) for number in range(scenes)]
    assert all(set(gaps) < set(rates) for gaps in lost)
    for name, rate in rates.items():
        expected = rate - prod(rates.values()) / len(rates)
        found = sum(name in gaps for gaps in lost) / scenes
        assert found == pytest.approx(expected, abs=5 * sqrt(expected * (1 - expected) / scenes))


def test_one_draw_decides_alone() -> None:
    """Neither order nor other scenes nor modalities with a draw of their own matter."""
    turned = dict(reversed(THREE.items()))
    for number in range(200):
        scene = f"s{number}"
        lost = draw_gaps(scene, THREE, seed=1)
        assert set(lost) == set(draw_gaps(scene, turned, seed=1))
        alone = {m for m, rate in THREE.items() if draw_uniform(1, scene, m) < rate}
        assert set(lost) == alone or alone == set(THREE)
        more = draw_gaps(scene, {**THREE, "sar": 0.0}, seed=1)
        assert set(more) == alone
        # who lacks something at a low rate lacks it at a higher one
        low, high = (draw_gaps(scene, dict.fromkeys(THREE, rate), 1) for rate in (0.3, 0.6))
        assert set(low) <= set(high)
    assert draw_gaps("s1", THREE, seed=1) == draw_gaps("s1", THREE, seed=1)
    some = [[draw_gaps(f"s{i}", THREE, seed) for i in range(50)] for seed in (1, 2)]
    assert some[0] != some[1]
    # the same on every machine: `printf '[0, "2_10", "dsm"]' | sha256sum` begins with bba02f7e
    assert int(draw_uniform(0, "2_10", "dsm") * 16**8) == 0xBBA02F7E


@pytest.fixture
def stores(tmp_path: Path, write_folder: Folder) -> Path:
    write_folder(tmp_path / "source", splits=SPLITS)
    import_named_dataset("mine", tmp_path / "source", tmp_path / "stores")
    return tmp_path / "stores"


def module(stores: Path, name: str = "mine", **options: Any) -> SceneDataModule:
    given = {"window": 16, "batch_size": 2, "num_workers": 0, **options}
    return SceneDataModule(name, str(stores), **given)


def batches(data: SceneDataModule, loader: str = "train_dataloader") -> list[dict[str, Any]]:
    return list(getattr(data, loader)())


def assert_equal_batches(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert mine["scene"] == theirs["scene"]
        assert mine["image"].keys() == theirs["image"].keys()
        for name, image in mine["image"].items():
            assert torch.equal(image, theirs["image"][name])
        for name, there in mine["available"].items():
            assert np.array_equal(there, theirs["available"][name])
        assert torch.equal(mine["mask"], theirs["mask"])


def test_what_is_held_back_is_as_if_it_had_never_been_there(
    tmp_path: Path, stores: Path, write_folder: Folder
) -> None:
    """Training and evaluation equal, to the bit, those of a store without the lost rasters."""
    data = module(stores, gap_rates=0.4, seed=2)
    lost = data.training_gaps
    assert {"rgb", "dsm"} == set(chain.from_iterable(lost.values())) and len(lost) < SCENES
    write_folder(tmp_path / "fewer", splits=SPLITS)
    table = (tmp_path / "fewer" / "scenes.csv").read_text()
    for scene, names in lost.items():
        for name in names:
            table = table.replace(f"{name}/{scene}.tif", "")
    (tmp_path / "fewer" / "scenes.csv").write_text(table)
    import_named_dataset("fewer", tmp_path / "fewer", tmp_path / "stores", allow_incomplete=True)
    other = module(stores, "fewer", seed=2)
    assert other.training_gaps == {}
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        assert_equal_batches(batches(data, loader), batches(other, loader))
    kinds = {(scene, *batch["image"]) for batch in batches(data) for scene in batch["scene"]}
    assert len(kinds) == SCENES, "what a scene has stays in the whole training"
    for scene, *names in kinds:
        assert {"rgb", "dsm"} - set(names) == set(lost.get(scene, ()))
    # what really lacks is neither drawn nor named, and one of the rest stays
    again = module(stores, "fewer", seed=2, gap_rates=0.99)
    assert not set(again.training_gaps) & set(lost)
    assert len(again.training_gaps) + len(lost) == SCENES


def test_training_windows_are_those_of_complete_training(stores: Path) -> None:
    """Place, mirror image, labels and the draws of an epoch are not moved by what is lost."""
    rules = {"rgb": "imagenet", "dsm": {"mean": [30.0], "std": [5.0]}}
    options: dict[str, Any] = {"normalization": rules, "colour_jitter": 0.0}
    whole = module(stores, **options)
    gaps = module(stores, gap_rates=0.4, gap_seed=2, **options)
    assert gaps.training_gaps
    shown = [cast(Any, data.train_dataloader()).dataset for data in (whole, gaps)]
    assert len(shown[0]) == len(shown[1])
    for index in range(len(shown[0])):
        one, other = (dataset[0, index] for dataset in shown)
        assert torch.equal(one["mask"], other["mask"]) and one["window"] == other["window"]
        for name, image in other["image"].items():
            assert torch.equal(image, one["image"][name])
    for loader in ("val_dataloader", "test_dataloader"):
        assert_equal_batches(batches(whole, loader), batches(gaps, loader))


def test_seed_workers_batches_and_ranks(stores: Path) -> None:
    data = module(stores, gap_rates=0.4, seed=2)
    assert data.training_gaps == module(stores, gap_rates=0.4, seed=5, gap_seed=2).training_gaps
    assert data.training_gaps != module(stores, gap_rates=0.4, seed=5).training_gaps
    assert data.training_gaps == module(stores, gap_rates=0.4, seed=2, batch_size=3).training_gaps
    assert_equal_batches(
        batches(data), batches(module(stores, gap_rates=0.4, seed=2, num_workers=2))
    )
    for rank in range(2):
        one = module(stores, gap_rates=0.4, seed=2)
        one._rank = lambda rank=rank: (rank, 2)  # type: ignore[method-assign]
        for batch in batches(one):
            for scene in batch["scene"]:
                have = {"rgb", "dsm"} - set(data.training_gaps.get(scene, ()))
                assert set(batch["image"]) == have


def test_nothing_is_lost_without_rates(stores: Path) -> None:
    plain = module(stores)
    assert plain.training_gaps == {}
    assert plain.training_scenes() == plain.splits["train"]
    assert module(stores, gap_rates=0.0).training_gaps == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"gap_rates": {"thermal": 0.5}},
            "gap_rates names thermal; give rates for some of rgb, dsm",
        ),
        ({"gap_rates": 1.0}, "gap_rates is 1 for rgb: give 0 or more, less than 1"),
        ({"gap_rates": {"dsm": -0.1}}, "gap_rates is -0.1 for dsm"),
        ({"gap_rates": float("nan")}, "gap_rates is nan"),
        ({"gap_seed": 3}, "gap_seed draws nothing without data.gap_rates"),
        ({"gap_rates": {"dsm": 0.9999}}, "no training scene has 'dsm'; lower data.gap_rates"),
    ],
)
def test_rates_that_cannot_be_say_why(options: dict[str, Any], text: str, stores: Path) -> None:
    with pytest.raises(UserError, match=text):
        module(stores, **options)
