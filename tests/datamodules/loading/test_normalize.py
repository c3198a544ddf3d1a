"""Normalisation: pooled statistics are those of the pooled pixels."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.loading.normalize import (
    Normalizer,
    default_rule,
    fit_normalizer,
)
from datamodules.store.pooling import pooled_statistics
from datamodules.store.scene_store import Modality
from usererror import UserError

DSM = Modality("dsm", "D", 1, "float32", "m", "height_absolute")
RGB = Modality("rgb", "R", 3, "uint8", "counts", "optical")
NIR = Modality("nir", "N", 1, "uint8", "counts", "optical")


def statistics(pixels: np.ndarray) -> dict[str, object]:
    flat = pixels.reshape(len(pixels), -1).astype(float)
    return {
        "count": flat.shape[1],
        "mean": flat.mean(1).tolist(),
        "std": flat.std(1).tolist(),
        "p05": np.percentile(flat, 5, axis=1).tolist(),
    }


@pytest.fixture
def scenes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"a": rng.normal(30, 2, (1, 20, 30)), "b": rng.normal(300, 5, (1, 40, 50))}


def test_pooled_statistics_equal_those_of_the_concatenated_pixels(
    scenes: dict[str, np.ndarray],
) -> None:
    mean, std = pooled_statistics({name: statistics(pixels) for name, pixels in scenes.items()})
    together = np.concatenate([pixels.ravel() for pixels in scenes.values()])
    assert mean[0] == pytest.approx(together.mean()) and std[0] == pytest.approx(together.std())


def test_lowered_heights_are_pooled_after_lowering(scenes: dict[str, np.ndarray]) -> None:
    stats = {name: statistics(pixels) for name, pixels in scenes.items()}
    normalizer = fit_normalizer(DSM, "lowered", stats, stats)
    output = np.concatenate(
        [
            normalizer.standardize(normalizer.to_valid(pixels, name), name).ravel()
            for name, pixels in scenes.items()
        ]
    )
    # a scene 270 m higher looks like the other one once both are lowered
    assert output.mean() == pytest.approx(0, abs=1e-4) and output.std() == pytest.approx(
        1, abs=1e-4
    )


def test_invalid_heights_become_the_low_ground(scenes: dict[str, np.ndarray]) -> None:
    stats = {name: statistics(pixels) for name, pixels in scenes.items()}
    normalizer = fit_normalizer(DSM, "lowered", stats, stats)
    pixels = scenes["a"].astype(np.float32)
    pixels[0, 0, :3] = np.nan, -9999, np.inf
    cleaned = normalizer.to_valid(pixels, "a")
    assert cleaned[0, 0, :3] == pytest.approx(stats["a"]["p05"][0])
    assert np.array_equal(cleaned[0, 1:], pixels[0, 1:])


def test_backscatter_is_normalised_in_decibels_and_gaps_take_their_own_channel() -> None:
    """The published recipe for DFC2023, after clipping to [-25, 0] dB."""
    sar = Modality("sar", "S", 2, "float32", "linear", "sar_linear")
    pixels = np.array([[[0.1, 0.0, np.nan]], [[1.0, 9.0, np.nan]]], np.float32)
    stats = {"a": {"count": 2, "mean": [-10.0, -10.0], "std": [1.0, 1.0], "p05": [-20.0, -12.0]}}
    normalizer = fit_normalizer(sar, {"mean": [-7.945] * 2, "std": [2.777] * 2}, stats, stats)
    expected = (np.array([[[-10.0, -25.0, -20.0]], [[0.0, 0.0, -12.0]]]) + 7.945) / 2.777
    np.testing.assert_allclose(
        normalizer.standardize(normalizer.to_valid(pixels, "a"), "a"), expected, atol=1e-4
    )


def test_imagenet_rule_matches_its_definition() -> None:
    pixels = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2) * 20
    stats = {"a": statistics(pixels)}
    normalizer = fit_normalizer(RGB, "imagenet", stats, stats)
    expected = (pixels / 255 - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    assert normalizer.standardize(normalizer.to_valid(pixels, "a"), "a") == pytest.approx(
        expected, abs=1e-5
    )


def test_defaults_by_kind() -> None:
    assert [default_rule(modality) for modality in (RGB, NIR, DSM)] == [
        "imagenet",
        "standard",
        "lowered",
    ]


@pytest.mark.parametrize(
    ("modality", "rule", "text"),
    [
        (NIR, "imagenet", "three uint8 bands"),
        (RGB, "nonsense", "unknown rule 'nonsense'"),
        (RGB, {"mean": [0.0], "std": [1.0]}, "3 numbers each"),
    ],
)
def test_rules_that_do_not_fit_are_refused(modality: Modality, rule: object, text: str) -> None:
    stats = {"a": statistics(np.ones((modality.channels, 2, 2)))}
    with pytest.raises(UserError, match=text):
        fit_normalizer(modality, rule, stats, stats)  # type: ignore[arg-type]


def test_a_constant_channel_is_not_divided_by_zero() -> None:
    stats = {"a": statistics(np.full((1, 3, 3), 7.0))}
    normalizer: Normalizer = fit_normalizer(NIR, "standard", stats, stats)
    assert np.isfinite(normalizer.standardize(np.full((1, 2, 2), 7, np.float32), "a")).all()


def test_range_spans_every_scene_from_zero_to_one(scenes: dict[str, np.ndarray]) -> None:
    stats = {}
    for name, pixels in scenes.items():
        extremes = {"min": [float(pixels.min())], "max": [float(pixels.max())]}
        stats[name] = {**statistics(pixels), **extremes}
    # fitted on one scene, it holds for another one 270 m higher
    normalizer = fit_normalizer(DSM, "range", {"a": stats["a"]}, stats)
    for name, pixels in scenes.items():
        output = normalizer.standardize(pixels.astype(np.float32), name)
        expected = (pixels - pixels.min()) / (pixels.max() - pixels.min())
        assert np.allclose(output, expected, atol=1e-5)


def test_range_of_a_flat_scene_is_zero() -> None:
    stats = {"a": {"p05": [4.0], "min": [4.0], "max": [4.0]}}
    normalizer = fit_normalizer(DSM, "range", stats, stats)
    assert (normalizer.standardize(np.full((1, 2, 2), 4.0, np.float32), "a") == 0).all()
