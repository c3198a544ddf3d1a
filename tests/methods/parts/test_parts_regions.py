"""Dice and weighted cross-entropy: constants, brute force, ignored pixels, and
segmentation-models-pytorch.
"""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.losses import (
    class_probabilities,
    dice_loss,
    one_hot_labels,
    segmentation_loss,
    weighted_cross_entropy,
)

K = 5


def dice_of(probabilities: Tensor, mask: Tensor) -> Tensor:
    return dice_loss(probabilities, *one_hot_labels(mask, probabilities.shape[1], 255))


def weighted(probabilities: Tensor, mask: Tensor) -> Tensor:
    return weighted_cross_entropy(probabilities, *one_hot_labels(mask, probabilities.shape[1], 255))


def example(seed: int = 0, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    """Probabilities 3 x 5 x 6 x 7, some below the floor, and labels of all classes."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, K, (3, 6, 7), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < ignored] = 255
    return (5 * torch.randn(3, K, 6, 7, generator=generator)).softmax(1), mask


def balanced() -> Tensor:
    return (torch.arange(200) % K).reshape(2, 10, 10)


def test_constants_of_a_uniform_prediction():
    """Balanced labels: CE = ln 5 (1 - 1/5) = 1.28755, Dice = 0.8, sum 2.08755."""
    uniform, mask = torch.full((2, K, 10, 10), 0.2), balanced()
    assert weighted(uniform, mask).item() == pytest.approx(1.28755, abs=5e-6)
    assert weighted(uniform, mask).item() == pytest.approx(0.8 * log(5), rel=1e-6)
    assert dice_of(uniform, mask).item() == pytest.approx(0.8, rel=1e-6)
    assert segmentation_loss(uniform, mask).item() == pytest.approx(2.08755, abs=5e-6)


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.1, 0.1, 0.1), (0.4, 0.3, 0.3, 0.0, 0.0)])
def test_constants_of_unbalanced_labels(shares):
    """CE = ln 5 (1 - sum f^2), Dice = 1 - mean 0.4 f / (0.2 + f)."""
    mask = (
        torch.arange(K)
        .repeat_interleave(torch.tensor([round(100 * s) for s in shares]))
        .reshape(1, 10, 10)
    )
    uniform = torch.full((1, K, 10, 10), 0.2)
    assert weighted(uniform, mask).item() == pytest.approx(
        log(5) * (1 - sum(f * f for f in shares))
    )
    dice = 1 - sum(0.4 * f / (0.2 + f) for f in shares) / K
    assert dice_of(uniform, mask).item() == pytest.approx(dice, rel=1e-6)


def test_perfect_prediction_and_absent_classes():
    mask = balanced()
    perfect = F.one_hot(mask, K).movedim(-1, 1).float()
    assert weighted(perfect, mask).item() == 0
    assert dice_of(perfect, mask).item() == pytest.approx(0, abs=1e-6)
    for absent in (1, 3):
        fewer = mask % (K - absent)
        perfect = F.one_hot(fewer, K).movedim(-1, 1).float()
        assert dice_of(perfect, fewer).item() == pytest.approx(0.2 * absent, abs=1e-6)


def test_brute_force():
    probabilities, mask = example()
    overlap, size = [0.0] * K, [0.0] * K
    entropy, valid = 0.0, 0
    for b in range(3):
        counts = [(mask[b] == c).sum().item() for c in range(K)]
        for y in range(6):
            for x in range(7):
                label = mask[b, y, x].item()
                if label == 255:
                    continue
                valid += 1
                for c in range(K):
                    p = probabilities[b, c, y, x].item()
                    overlap[c] += p * (c == label)
                    size[c] += p + (c == label)
                weight = 1 - counts[label] / sum(counts)
                entropy -= weight * log(max(0.005, probabilities[b, label, y, x].item()))
    dice = 1 - sum(2 * o / s for o, s in zip(overlap, size, strict=True)) / K
    assert dice_of(probabilities, mask).item() == pytest.approx(dice, rel=1e-5)
    assert weighted(probabilities, mask).item() == pytest.approx(entropy / valid, rel=1e-5)
    assert segmentation_loss(probabilities, mask).item() == pytest.approx(
        dice + entropy / valid, rel=1e-5
    )


def test_ignored_pixels_count_nowhere():
    """Neither their prediction nor their number changes anything: the loss is that of the others
    alone.
    """
    probabilities, mask = example(ignored=0.0)
    wider = torch.cat([probabilities, torch.rand(3, K, 6, 4).softmax(1)], 3).requires_grad_()
    labels = torch.cat([mask, torch.full((3, 6, 4), 255)], 2)
    loss = segmentation_loss(wider, labels)
    torch.testing.assert_close(loss, segmentation_loss(probabilities, mask))
    loss.backward()
    assert not wider.grad[..., 7:].any() and wider.grad[..., :7].any()


def test_nothing_to_learn_from():
    probabilities = example()[0].requires_grad_()
    loss = segmentation_loss(probabilities, torch.full((3, 6, 7), 255))
    loss.backward()
    assert loss.isfinite() and not probabilities.grad.any()


def test_below_the_floor_only_dice_has_a_gradient():
    logits = torch.tensor([0.0, 9.0]).reshape(1, 2, 1, 1).requires_grad_()
    mask = torch.zeros(1, 1, 1, dtype=torch.long)
    twice = torch.cat(
        [logits, -logits], 3
    )  # the second pixel is right, so that the class has weight
    mask = torch.tensor([[[0, 1]]])
    (entropy,) = torch.autograd.grad(weighted(twice.softmax(1), mask), logits, retain_graph=True)
    (dice,) = torch.autograd.grad(dice_of(twice.softmax(1), mask), logits)
    assert not entropy.any() and dice.any()


def test_half_precision_is_computed_in_float32():
    probabilities, mask = example()
    half = probabilities.bfloat16()
    torch.testing.assert_close(segmentation_loss(half, mask), segmentation_loss(half.float(), mask))
    assert segmentation_loss(half, mask).dtype == torch.float32
    assert (
        class_probabilities(torch.randn(1, K, 2, 2).bfloat16(), (4, 4), (3, 4)).dtype
        == torch.float32
    )


def test_probabilities_are_upsampled_after_the_softmax():
    logits = 5 * torch.randn(2, K, 2, 3)
    found = class_probabilities(logits, (32, 48), (20, 41))
    expected = F.interpolate(
        logits.softmax(1), scale_factor=16, mode="bilinear", align_corners=True
    )[..., :20, :41]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 20, 41))
    torch.testing.assert_close(class_probabilities(logits, (2, 3), (2, 3)), logits.softmax(1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dice_is_that_of_segmentation_models_pytorch(seed):
    """The same function where every class occurs; theirs gives an absent class 0, ours 1/K, both
    without gradient.
    """
    smp = pytest.importorskip(
        "segmentation_models_pytorch.losses", reason="segmentation-models-pytorch is optional"
    )
    theirs = smp.DiceLoss("multiclass", from_logits=False, smooth=0.0, ignore_index=255)
    probabilities, mask = example(seed)
    probabilities.requires_grad_()
    assert len(mask.unique()) == K + 1
    torch.testing.assert_close(dice_of(probabilities, mask), theirs(probabilities, mask))
    mask[mask == 2] = 3
    one, two = dice_of(probabilities, mask), theirs(probabilities, mask)
    torch.testing.assert_close(one, two + 1 / K)
    gradients = [torch.autograd.grad(loss, probabilities)[0] for loss in (one, two)]
    torch.testing.assert_close(*gradients)
