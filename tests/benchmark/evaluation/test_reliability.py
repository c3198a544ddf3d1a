"""SubsetReliability against torchmetrics, float64 brute force and whole scenes without windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError

from benchmark.evaluation import SubsetConfusion
from benchmark.evaluation.protocol import clip_to_scene
from benchmark.evaluation.reliability import SubsetReliability
from benchmark.evaluation.subset_confusion import Prediction, SceneWindows, Stitching
from benchmark.metrics.confusion import Convention, score_matrices
from benchmark.metrics.reliability import BINS, UNIT, ReliabilityCounts, reliability_scores
from benchmark.metrics.result import sum_regions
from datamodules.loading.windows import covering_windows

NAMES, LABELS, OUTPUTS, REGIONS = ("R", "D", "R+D"), 4, 3, ("interior", "band")
# label 1 is ignored; outputs come in an order of their own, as `match_outputs` may want it
OWN = Convention((3, 0, 2), (0, 2, 3), (1,), regions=("interior",))
STATES = ("pixels", "hits", "confidence", "brier", "changed")


def assert_equal(one: ReliabilityCounts, other: ReliabilityCounts) -> None:
    for name in STATES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def random_truth(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    label = torch.randint(0, LABELS + 1, shape, generator=generator)
    label[label == LABELS] = 255
    return label, torch.randint(0, 2, shape, generator=generator).to(torch.uint8)


def random_probabilities(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(1)


def predictions(probabilities: dict[str, Tensor]) -> list[Prediction]:
    return [(name, values.clone(), values.argmax(1)) for name, values in probabilities.items()]


def brute_force(probabilities: dict[str, Tensor], truth: np.ndarray) -> dict[str, dict[str, Any]]:
    """Scores in float64; `truth` has the output of each pixel, -1 where it is not scored."""
    scored = truth >= 0
    names = list(probabilities)
    chosen = {name: values.argmax(1).numpy()[scored] for name, values in probabilities.items()}
    full, right = chosen[names[-1]], chosen[names[-1]] == truth[scored]
    found = {}
    for name, values in probabilities.items():
        p = np.moveaxis(values.numpy(), 1, -1)[scored]
        onehot = np.eye(p.shape[1])[truth[scored]]
        wrong, confidence = chosen[name] != truth[scored], p.max(1)
        changed = chosen[name] != full
        found[name] = {
            "pixels": len(p),
            "confidence": confidence.mean(),
            "brier": ((p - onehot) ** 2).sum(1).mean(),
            "changed": changed.mean(),
            "lost": (changed & right).mean(),
            "wrong_and_sure": (wrong & (confidence > 14 / 15)).mean(),
        }
    return found


@pytest.mark.parametrize("outputs", [2, 5, 19])
def test_calibration_errors_are_those_of_torchmetrics(outputs: int) -> None:
    label = torch.randint(0, outputs, (3, 40, 50), generator=torch.Generator().manual_seed(1))
    probabilities = random_probabilities((3, outputs, 40, 50))
    classes = tuple(range(outputs))
    metric = SubsetReliability(["R"], outputs, Convention(classes, classes))
    metric.update(predictions({"R": probabilities}), label)
    scores = reliability_scores(metric.counts())
    mean = MulticlassCalibrationError(outputs, n_bins=BINS, norm="l1")
    largest = MulticlassCalibrationError(outputs, n_bins=BINS, norm="max")
    assert scores.ece[0] == pytest.approx(float(mean(probabilities, label)), abs=1e-6)
    assert scores.mce[0] == pytest.approx(float(largest(probabilities, label)), abs=1e-6)
    assert scores.accuracy[0] == float((probabilities.argmax(1) == label).double().mean())


def test_all_scores_are_those_of_brute_force_and_ignored_pixels_count_nowhere() -> None:
    label, region = random_truth((2, 37, 41))
    shape = (2, OUTPUTS, 37, 41)
    probabilities = {name: random_probabilities(shape, n) for n, name in enumerate(NAMES)}
    metric = SubsetReliability(NAMES, LABELS, OWN, REGIONS)
    metric.update(predictions(probabilities), label, region)
    counts = metric.counts()
    truth = np.full(label.shape, -1)
    for output, own in enumerate(OWN.outputs):
        truth[(label.numpy() == own) & (region.numpy() == 0)] = output
    assert 0 < (truth >= 0).sum() < label.numel() / 2, "the band and two labels are left out"
    scores = reliability_scores(counts)
    for number, (name, expected) in enumerate(brute_force(probabilities, truth).items()):
        assert counts.pixels[number].sum() == expected.pop("pixels"), name
        assert scores.confidence[number] == pytest.approx(expected.pop("confidence"), abs=UNIT / 2)
        assert scores.brier[number] == pytest.approx(expected.pop("brier"), abs=UNIT / 2)
        for key, value in expected.items():
            assert getattr(scores, key)[number] == pytest.approx(value, abs=1e-12), (name, key)
    assert scores.changed[0] > 0.2 and scores.changed[2] == scores.lost[2] == 0


def test_order_and_size_of_batches_and_ranks_change_no_count() -> None:
    label, region = random_truth((6, 20, 20))
    shape = (6, OUTPUTS, 20, 20)
    probabilities = {name: random_probabilities(shape, n) for n, name in enumerate(NAMES)}

    def count(*batches: list[int]) -> SubsetReliability:
        metric = SubsetReliability(NAMES, LABELS, OWN, REGIONS)
        for own in batches:
            parts = {name: values[own] for name, values in probabilities.items()}
            metric.update(predictions(parts), label[own], region[own])
        return metric

    whole = count([0, 1, 2, 3, 4, 5])
    assert_equal(whole.counts(), count([5], [0, 3], [4, 2, 1]).counts())
    # what torchmetrics does with the states of two ranks
    one, two = count([4, 0]), count([1, 2, 3, 5])
    one._reduce_states(two.metric_state)
    assert_equal(whole.counts(), one.counts())
    assert {whole.bins.dtype, whole.brier.dtype, whole.changed.dtype} == {torch.int64}


def test_a_bin_holds_its_upper_edge_and_certainty_is_in_the_last() -> None:
    """As in Guo et al., where bin m is ((m - 1) / M, m / M]."""
    below, above = (np.floor(14 / 15 / UNIT) + [0, 1]) * UNIT
    confidence = torch.tensor([0.5, 0.53, 0.54, below, above, 1.0], dtype=torch.float64)
    values = torch.stack([confidence, 1 - confidence])[None, :, None]
    metric = SubsetReliability(["R"], 2, Convention((0, 1), (0, 1)))
    metric.update([("R", values, values.argmax(1))], torch.zeros(1, 1, 6).long())
    assert metric.counts().pixels[0].tolist() == [0] * 7 + [2, 1] + [0] * 4 + [1, 2]
    # edges are multiples of 1/15, which no binary number is, and 0 and 1
    values = torch.full((1, 3, 1, 1), 1 / 3, dtype=torch.float64)
    metric = SubsetReliability(["R"], 3, Convention((0, 1, 2), (0, 1, 2)))
    metric.update([("R", values, values.argmax(1))], torch.zeros(1, 1, 1).long())
    assert metric.counts().pixels[0, 4] == 1


def test_a_scored_label_without_an_output_is_refused() -> None:
    with pytest.raises(ValueError, match="label 1 is scored, but no output exists"):
        SubsetReliability(NAMES, LABELS, Convention((3, 0, 2), (0, 2, 3)), REGIONS)


# ---- shown by the confusion metric --------------------------------------------------------------


def cut(values: Tensor, place: tuple[int, ...], side: int, fill: int) -> Tensor:
    out = torch.full((side, side), fill, dtype=values.dtype)
    part = values[place[0] : place[0] + side, place[1] : place[1] + side]
    out[: part.shape[0], : part.shape[1]] = part
    return out


class Scene:
    """A scene of random labels, and the logits of its windows."""

    side = 32

    def __init__(self, height: int, width: int, stride: int) -> None:
        self.label, self.region = random_truth((height, width))
        windows = covering_windows(height, width, self.side, stride)
        places = [clip_to_scene(window, height, width) for window in windows]
        self.scene = SceneWindows(height, width, places)
        self.overlapping = sum(rows * cols for _, _, rows, cols in places) > height * width
        generator = torch.Generator().manual_seed(7)
        shape = (len(places), len(NAMES), OUTPUTS, self.side, self.side)
        self.logits = 3 * torch.randn(shape, generator=generator)

    def means(self, stitching: Stitching) -> dict[str, Tensor]:
        """Probabilities of the whole scene, `(1, K, H, W)`."""
        if not self.overlapping:
            # what is not summed is not rounded to float32 before
            stitching = "logits"
        height, width = self.label.shape
        sums, windows = torch.zeros(len(NAMES), OUTPUTS, height, width), torch.zeros(height, width)
        for values, (row, col, rows, cols) in zip(self.logits, self.scene.windows, strict=True):
            if stitching == "probabilities":
                values = torch.stack([one.softmax(0) for one in values])
            sums[:, :, row : row + rows, col : col + cols] += values[:, :, :rows, :cols]
            windows[row : row + rows, col : col + cols] += 1
        means = sums.double() / windows
        means = means if stitching == "probabilities" else means.softmax(1)
        return {name: means[number, None] for number, name in enumerate(NAMES)}

    def update(self, confusion: SubsetConfusion, together: int, names: Any = NAMES) -> None:
        for start in range(0, len(self.logits), together):
            batch = slice(start, start + together)
            places = self.scene.windows[batch]
            labels = torch.stack([cut(self.label, place, self.side, 255) for place in places])
            regions = torch.stack([cut(self.region, place, self.side, 0) for place in places])
            pairs = ((name, self.logits[batch, NAMES.index(name)]) for name in names)
            confusion.update(pairs, labels, regions, [1] * len(places), places)

    def metrics(
        self, stitching: Stitching, watch: Callable[..., None] | None = None
    ) -> SubsetConfusion:
        # the first scene has no windows: its bins lie before
        return SubsetConfusion(
            NAMES,
            LABELS,
            OUTPUTS,
            [SceneWindows(40, 40, [(0, 0, 40, 40)]), self.scene],
            len(REGIONS),
            block=30,
            stitching=stitching,
            watch=watch,
        )


@pytest.mark.parametrize("stitching", ["logits", "probabilities"])
@pytest.mark.parametrize("together", [1, 4, 50])
@pytest.mark.parametrize(
    ("height", "width", "stride"), [(64, 64, 32), (70, 45, 16), (33, 90, 24), (20, 25, 16)]
)
def test_windows_give_the_counts_of_the_whole_scene(
    height: int, width: int, stride: int, together: int, stitching: Stitching
) -> None:
    scene = Scene(height, width, stride)
    windowed = SubsetReliability(NAMES, LABELS, OWN, REGIONS)
    watched = scene.metrics(stitching, windowed.update)
    scene.update(watched, together)
    whole = SubsetReliability(NAMES, LABELS, OWN, REGIONS)
    given = predictions(scene.means(stitching))
    whole.update(given, scene.label[None], scene.region[None])
    assert_equal(windowed.counts(), whole.counts())
    # the confusion counts are those of nobody watching, and agree with what was watched
    alone = scene.metrics(stitching)
    scene.update(alone, together)
    assert torch.equal(watched.counts, alone.counts)
    matrices = sum_regions(alone.compute()[1].sum(1).numpy(), REGIONS, OWN.regions)
    accuracies = [entry.oa for entry in score_matrices(matrices, OWN)]
    assert reliability_scores(windowed.counts()).accuracy.tolist() == accuracies


@pytest.mark.parametrize("stride", [32, 16])
def test_a_scene_without_a_sensor_is_compared_with_all_that_it_has(stride: int) -> None:
    scene = Scene(64, 64, stride)
    metric = SubsetReliability(NAMES, LABELS, OWN, REGIONS)
    scene.update(scene.metrics("logits", metric.update), 3, ["D"])
    counts = metric.counts()
    assert counts.pixels.sum(1).tolist()[::2] == [0, 0] and counts.pixels[1].sum() > 0
    assert not counts.changed.any()


@pytest.mark.parametrize("stride", [32, 16])
def test_half_precision_is_watched_like_the_same_numbers_in_full(stride: int) -> None:
    scene, found = Scene(64, 64, stride), []
    for dtype in (torch.bfloat16, torch.float32):
        scene.logits = scene.logits.bfloat16().to(dtype)
        metric = SubsetReliability(NAMES, LABELS, OWN, REGIONS)
        scene.update(scene.metrics("logits", metric.update), 4)
        found.append(metric.counts())
    assert_equal(*found)


def test_a_watcher_that_looks_away_changes_no_count() -> None:
    scene = Scene(70, 45, 16)
    confusions = [scene.metrics("logits"), scene.metrics("logits", lambda *given: None)]
    for confusion in confusions:
        scene.update(confusion, 4)
    assert torch.equal(confusions[0].counts, confusions[1].counts)
