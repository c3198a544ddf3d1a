"""Loss functions shared by the methods.

`segmentation_loss`: mmFormer's second public release, and GEMMNet (arXiv 2509.11102) eq. 7. It
takes probabilities, because the auxiliary outputs are upsampled after the softmax.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32

EPS = 1e-7
# least probability inside the logarithm; below it a pixel gives the cross-entropy no gradient
FLOOR = 0.005


def cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Average the cross-entropy of logits (B, K, H, W) over valid pixels, in at least float32.

    Exactly 0, with a graph to `logits`, when no pixel of the mask, int64 (B, H, W), is valid.

    Example:
        >>> mask = torch.tensor([[[0, 255]]])
        >>> cross_entropy(torch.zeros(1, 2, 1, 2), mask)
        tensor(0.6931)
    """
    # the loss over rows has a deterministic CUDA kernel, the one over maps has none
    rows = at_least_float32(logits).permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    total = F.cross_entropy(rows, mask.reshape(-1), ignore_index=ignore_index, reduction="sum")
    valid = torch.count_nonzero(mask != ignore_index).clamp(min=1)
    return total / valid


def class_probabilities(logits: Tensor, padded: Sequence[int], size: Sequence[int]) -> Tensor:
    """Turn logits (B, K, h, w) of a `padded` image into probabilities (B, K, H, W) of `size`.

    They are upsampled to the padded size, corners aligned, and cropped below and right.
    """
    probabilities = at_least_float32(logits).softmax(1)
    if tuple(logits.shape[-2:]) != tuple(padded):
        probabilities = F.interpolate(
            probabilities, size=tuple(padded), mode="bilinear", align_corners=True
        )
    return probabilities[..., : size[0], : size[1]]


def one_hot_labels(mask: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Encode labels as one-hot (B, K, H, W), 0 where ignored; valid pixels are (B, 1, H, W)."""
    valid = mask != ignore_index
    hot = F.one_hot(torch.where(valid, mask, 0), num_classes).movedim(-1, 1)
    weight = valid[:, None].float()
    return hot * weight, weight


def dice_loss(probabilities: Tensor, hot: Tensor, valid: Tensor) -> Tensor:
    """Compute 1 - mean over classes of 2 sum(p y) / (sum p + sum y), sums over the whole batch.

    Arguments as `one_hot_labels` returns them.
    """
    # a class that is not in the batch costs 1/K whatever is predicted, and has no gradient
    counted = probabilities * valid
    overlap = (counted * hot).sum((0, 2, 3))
    return 1 - (2 * overlap / (counted.sum((0, 2, 3)) + hot.sum((0, 2, 3)) + EPS)).mean()


def weighted_cross_entropy(probabilities: Tensor, hot: Tensor, valid: Tensor) -> Tensor:
    """Average -w log p over valid pixels, w = 1 - the class's share of its image.

    Arguments as for `dice_loss`; 0 when no pixel is valid.
    """
    pixels = hot.sum((2, 3))
    weights = 1 - pixels / (pixels.sum(1, keepdim=True) + EPS)
    losses = -(hot * weights[:, :, None, None] * probabilities.clamp(min=FLOOR).log()).sum()
    return losses / valid.sum().clamp(min=1)


def segmentation_loss(probabilities: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Add `dice_loss` and `weighted_cross_entropy` with the weights 1 (GEMMNet eq. 7): a scalar."""
    # the released code has no label that is left out
    probabilities = at_least_float32(probabilities)
    hot, valid = one_hot_labels(mask, probabilities.shape[1], ignore_index)
    return dice_loss(probabilities, hot, valid) + weighted_cross_entropy(probabilities, hot, valid)
