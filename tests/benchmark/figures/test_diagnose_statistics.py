"""Spread, samples, silhouette and t-SNE against brute force, algebra and another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from benchmark.figures.feature_statistics import (
    ClassMoments,
    PerClassReservoir,
    embed_tsne,
    sample_at_cell_centres,
    silhouette_score_of,
    stride_of,
)

CLASSES = 4


def vectors(count: int = 400, channels: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of four, a few standard deviations apart, channels of different size."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = rng.normal(size=(3, channels)) * 2
    scales = 10.0 ** rng.integers(-2, 3, channels)
    return ((centres[labels] + rng.normal(size=(count, channels))) * scales + 7).astype(
        np.float32
    ), labels


def moments(z: np.ndarray, labels: np.ndarray, parts: int = 3) -> ClassMoments:
    streamed = ClassMoments(CLASSES, z.shape[1])
    for some, of in zip(np.array_split(z, parts), np.array_split(labels, parts), strict=True):
        streamed.add_vectors(some, of)
    return streamed


def test_variance_against_a_loop() -> None:
    z, labels = vectors()
    relative, raw = moments(z, labels).variances()
    z = z.astype(np.float64)
    for found, values in ((relative, (z - z.mean(0)) / z.std(0)), (raw, z)):
        for label in range(3):
            own = [vector for vector, one in zip(values, labels, strict=True) if one == label]
            mean = sum(own) / len(own)
            spread = sum(((vector - mean) ** 2).sum() for vector in own) / len(own) / z.shape[1]
            assert found[label] == pytest.approx(spread, rel=1e-6)
    assert np.isnan(relative[3]) and np.isnan(raw[3])


def test_law_of_total_variance() -> None:
    z, labels = vectors()
    streamed = moments(z, labels)
    standard = (z.astype(np.float64) - z.mean(0, dtype=np.float64)) / z.std(0, dtype=np.float64)
    between = [np.square(standard[labels == label].mean(0)).mean() for label in range(3)]
    shares = streamed.count[:3] / len(z)
    assert (shares * (streamed.variances()[0][:3] + between)).sum() == pytest.approx(1, rel=1e-6)


def test_variance_knows_neither_scale_nor_constant_channels() -> None:
    z, labels = vectors()
    relative = moments(z, labels).variances()[0][:3]
    moved = np.concatenate([z * -3 + 100, np.full((len(z), 2), 1234.5)], 1)
    np.testing.assert_allclose(moments(moved, labels).variances()[0][:3], relative, rtol=1e-5)
    assert np.isnan(moments(np.ones((5, 2)), np.zeros(5, int)).variances()[0]).all()


def test_silhouette_against_its_definition() -> None:
    z, labels = vectors(60)
    standard = (z.astype(np.float64) - z.mean(0, dtype=np.float64)) / z.std(0, dtype=np.float64)
    scores = []
    for i, vector in enumerate(standard):
        distances = np.array([np.sqrt(((vector - other) ** 2).sum()) for other in standard])
        means = {c: np.delete(distances, i)[np.delete(labels, i) == c].mean() for c in range(3)}
        a, b = means.pop(labels[i]), min(value for c, value in means.items() if c != labels[i])
        scores.append((b - a) / max(a, b))
    assert silhouette_score_of(z, labels) == pytest.approx(np.mean(scores), rel=1e-5)


def test_silhouette_needs_two_classes_and_a_pair() -> None:
    z = np.eye(3)
    assert np.isnan(silhouette_score_of(z, np.zeros(3, int))) and np.isnan(
        silhouette_score_of(z, np.arange(3))
    )


def test_a_sample_is_even_and_does_not_depend_on_the_windows() -> None:
    labels = np.repeat([0, 1, 2], [5000, 300, 7])
    order = np.random.default_rng(1).permutation(len(labels))
    stream = np.arange(len(labels))[order, None]
    results = []
    for parts in (1, 40):
        sample = PerClassReservoir(100)
        for some, of in zip(
            np.array_split(stream, parts), np.array_split(labels[order], parts), strict=True
        ):
            sample.offer(some, of)
        results.append(sample.vectors_and_labels())
    (found, classes), (again, _) = results
    assert np.array_equal(found, again)
    assert np.bincount(classes).tolist() == [100, 100, 7] and len(np.unique(found)) == 207
    assert np.array_equal(labels[found[:, 0]], classes)


def test_every_vector_of_a_class_is_equally_likely() -> None:
    """The mean place of 500 of 10,000 in the stream, sampled without replacement."""
    sample = PerClassReservoir(500)
    for part in np.array_split(np.arange(10_000)[:, None], 10):
        sample.offer(part, np.zeros(len(part), int))
    found = sample.vectors_and_labels()[0]
    error = np.sqrt((10_000**2 - 1) / 12 / 500 * (1 - 500 / 10_000))
    assert abs(found.mean() - 4999.5) < 4 * error


@pytest.mark.parametrize("channels", [3, 60])
def test_embedding_repeats_and_keeps_far_classes_apart(channels: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    z = rng.normal(size=(40, channels)) + 20 * labels[:, None]
    places = embed_tsne(z)
    assert places.shape == (40, 2) and np.array_equal(places, embed_tsne(z))
    assert silhouette_score_of(places, labels) > 0.5


def test_embedding_of_next_to_nothing() -> None:
    assert embed_tsne(np.ones((3, 4))).tolist() == [[0, 0]] * 3
    assert np.isfinite(embed_tsne(np.ones((6, 4)))).all()


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_cells_take_the_nearest_pixel(stride: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 5, (32, 48)).astype(np.uint8)
    shape = (32 // stride, 48 // stride)
    nearest = interpolate(
        torch.from_numpy(pixels)[None, None].float(), shape, mode="nearest-exact"
    )[0, 0].numpy()
    assert np.array_equal(sample_at_cell_centres(pixels, shape, stride, 255), nearest)
    padded = sample_at_cell_centres(pixels, (shape[0] + 1, shape[1] + 2), stride, 255)
    assert (
        np.array_equal(padded[:-1, :-2], nearest)
        and (padded[-1] == 255).all()
        and (padded[:, -2:] == 255).all()
    )
    assert np.array_equal(sample_at_cell_centres(pixels, (32, 48), 1, 255), pixels)


def test_strides_of_padded_windows() -> None:
    for height in (32, 64, *range(128, 1100)):
        for patch, strides in ((32, (4, 8, 16, 32)), (16, (1, 2, 4, 8, 16)), (14, (14,))):
            if patch == 14 and height < 196:
                continue
            padded = -(-height // patch) * patch
            rows = [padded // stride for stride in strides]
            assert [stride_of(height, rows[0], own) for own in rows] == list(strides), height
