"""The segmentation loss of mmFormer and GEMMNet: soft Dice plus a cross-entropy weighted by each image's classes.

Source: mmFormer's second public release; GEMMNet (arXiv 2509.11102) eq. 7. Both terms take probabilities, because the
auxiliary outputs are upsampled after the softmax. Pixels of the ignored label count nowhere: the released code has no
such label.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32

EPS = 1e-7
FLOOR = 0.005  # least probability inside the logarithm; below it a pixel gives the cross-entropy no gradient


def class_probabilities(logits: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Logits of a head at any scale -> probabilities B x K x H x W at the image's size, in at least float32.

    Args:
        logits: B x K x h x w of the padded image.
        padded: the padded image's size; the probabilities, not the logits, are upsampled to it (corners aligned).
        size: H x W, what is left after cropping below and right.
    """
    probabilities = at_least_float32(logits).softmax(1)
    if tuple(logits.shape[-2:]) != tuple(padded):
        probabilities = F.interpolate(
            probabilities, size=tuple(padded), mode="bilinear", align_corners=True
        )
    return probabilities[..., : size[0], : size[1]]


def one_hot(mask: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Labels B x H x W -> (one-hot B x K x H x W, all zero where ignored; valid pixels B x 1 x H x W), float32."""
    valid = mask != ignore_index
    hot = F.one_hot(torch.where(valid, mask, 0), num_classes).movedim(-1, 1)
    weight = valid[:, None].float()
    return hot * weight, weight


def _dice(probabilities: Tensor, hot: Tensor, valid: Tensor) -> Tensor:
    counted = probabilities * valid
    overlap = (counted * hot).sum((0, 2, 3))
    return 1 - (2 * overlap / (counted.sum((0, 2, 3)) + hot.sum((0, 2, 3)) + EPS)).mean()


def _weighted(probabilities: Tensor, hot: Tensor, valid: Tensor) -> Tensor:
    pixels = hot.sum((2, 3))
    weights = 1 - pixels / (pixels.sum(1, keepdim=True) + EPS)
    losses = -(hot * weights[:, :, None, None] * probabilities.clamp(min=FLOOR).log()).sum()
    return losses / valid.sum().clamp(min=1)


def dice_loss(probabilities: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """1 - mean over classes of 2 sum(p y) / (sum p + sum y + 1e-7), sums over batch and valid pixels together.

    A class that is not in the batch costs 1/K whatever is predicted, and has no gradient.

    Args:
        probabilities: B x K x H x W.
        mask: B x H x W int64.
        ignore_index: label value to leave out.
    """
    return _dice(
        at_least_float32(probabilities), *one_hot(mask, probabilities.shape[1], ignore_index)
    )


def weighted_cross_entropy(probabilities: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Mean over valid pixels of -w log max(p, 0.005), p the true class's probability, w = 1 - its share of the image.

    Arguments as for `dice_loss`; 0 when no pixel is valid.
    """
    return _weighted(
        at_least_float32(probabilities), *one_hot(mask, probabilities.shape[1], ignore_index)
    )


def segmentation_loss(probabilities: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """`dice_loss` plus `weighted_cross_entropy`, both with the weight 1 (GEMMNet eq. 7): a scalar."""
    probabilities = at_least_float32(probabilities)
    hot, valid = one_hot(mask, probabilities.shape[1], ignore_index)
    return _dice(probabilities, hot, valid) + _weighted(probabilities, hot, valid)
