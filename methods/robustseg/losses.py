"""What RobustSeg adds to a teacher: the classes' mean features, and features under noise.

The terms of arXiv 2505.12861, version 1; the ledger says where the released code computes something
else, and why.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.anyseg.losses import divergence, mean_of_shown
from methods.parts.backbones import STRIDES
from methods.parts.losses import one_hot_labels
from methods.parts.precision import at_least_float32, no_autocast

# of the released noise term: its copies of a map, and the factor of its final scripts
COPIES, FACTOR = 10, 1.2e-14


def labels_at_scale(mask: Tensor, features: Tensor, stride: int, ignore_index: int) -> Tensor:
    """Take the labels (B, H, W) of a map's pixels, (B, h, w); padding is ignored."""
    nearest = mask[:, ::stride, ::stride]
    below, right = (
        side - have for side, have in zip(features.shape[-2:], nearest.shape[1:], strict=True)
    )
    return F.pad(nearest, (0, right, 0, below), value=ignore_index)


def class_means(features: Tensor, hot: Tensor) -> Tensor:
    """Average maps (M, B, C, h, w) over the pixels of each class: (M, B, K, C).

    `hot` are one-hot labels (B, K, h, w); a class without a pixel has the mean 0.
    """
    features = at_least_float32(features)
    with no_autocast(features.device):
        sums = torch.einsum("bkhw,mbchw->mbkc", hot.to(features.dtype), features)
    return sums / hot.sum((2, 3)).clamp(min=1)[..., None]


def draw_partners(shown: Tensor, scales: int) -> Tensor:
    """Draw a shown sensor for every scale, sensor and sample: int64 (scales, M, B), on the host.

    `shown` is bool (M, B).
    """
    sensors, batch = shown.shape
    drawn = torch.multinomial(shown.t().float(), scales * sensors, replacement=True)
    return drawn.t().reshape(scales, sensors, batch)


def prototype_divergence(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor,
    classes: tuple[int, int],
    shown: Tensor,
    partners: Tensor | None = None,
    released: bool = False,
) -> Tensor:
    """KL of the classes' mean features, as softmax over the classes that a sample has, per channel.

    Mean over classes and channels, over the shown sensors and samples, sum over scales. `released`:
    means are divided by the number of pixels once more, classes without a pixel count as 0, and
    sensors are added.

    Args:
        student: per scale (M, B, C, h, w); so is `teacher`.
        mask: labels (B, H, W).
        classes: their number K, and the label that belongs to none.
        shown: bool (M, B).
        partners: whose means the student compares with a sensor's, (scales, M, B); None: its own.
    """
    total = mask.new_zeros((), dtype=torch.float32)
    samples = torch.arange(len(mask), device=mask.device)
    for scale, (one, other) in enumerate(zip(student, teacher, strict=True)):
        hot, _ = one_hot_labels(labels_at_scale(mask, one, STRIDES[scale], classes[1]), *classes)
        pixels = hot.sum((2, 3))[..., None]  # (B, K, 1)
        found, wanted = class_means(one, hot), class_means(other, hot)
        if partners is not None:
            found = found[partners[scale], samples]
        if released:
            summands = divergence(found / pixels.clamp(min=1), wanted / pixels.clamp(min=1), 2)
            # the mean is of the shown sensors, the sum so many times as much
            total = total + mean_of_shown(summands.mean((2, 3)) * shown.sum(0), shown)
            continue
        # finite, so that the difference of two such logarithms is 0
        least = torch.finfo(found.dtype).min
        found, wanted = (means.masked_fill(pixels == 0, least) for means in (found, wanted))
        there = (pixels > 0).sum((1, 2)).clamp(min=1) * found.shape[3]
        total = total + mean_of_shown(divergence(found, wanted, 2).sum((2, 3)) / there, shown)
    return total


def add_noise(features: Tensor, copies: int = 1) -> Tensor:
    """Add noise as strong as a pixel's deviation over channels to maps (M, B, copies * C, h, w).

    The deviation is a constant to the gradient: that of a pixel without any would not be finite.
    """
    many = at_least_float32(features).repeat(1, 1, copies, 1, 1)
    return many + many.detach().std(2, keepdim=True) * torch.randn_like(many)


def released_regulariser(
    student: Sequence[Tensor], teacher: Sequence[Tensor], shown: Tensor
) -> Tensor:
    """Sum `fisher_regulariser` of noisy copies over scales and shown sensors, per sample.

    Arguments as for `prototype_divergence`; the factor of the release is in it.
    """
    total = student[0].new_zeros((), dtype=torch.float32)
    for one, other in zip(student, teacher, strict=True):
        values = fisher_regulariser(add_noise(one, COPIES), add_noise(other, COPIES))
        total = total + mean_of_shown(values * shown.sum(0), shown)
    return FACTOR * total


def fisher_regulariser(student: Tensor, teacher: Tensor) -> Tensor:
    """Root of the sum of both sides' inverse squared Fisher information, per sensor: (M, B).

    Logits (M, B, C, h, w), noise included. With n = C h w, t and f the teacher's and the student's
    softmax over rows and l the mean over elements of t log(t / f), the information of a side is the
    mean over channels and columns of sum over rows (dl / d log f)^2 / l, or (dl / dt)^2 / l. The
    derivatives are -t / n and (log(t / f) + 1) / n: no second backward pass is needed.
    """
    number = student[0, 0].numel()
    wanted, found = teacher.log_softmax(3), student.log_softmax(3)
    ratio = wanted - found
    mean = (wanted.exp() * ratio).mean((2, 3, 4)).clamp(min=0)
    inverses = []
    for derivative in (wanted.exp(), ratio + 1):
        inverses.append(1 / (derivative**2).sum(3).mean((2, 3)))
    # l leaves the root, so that equal maps are no division by 0
    return mean * number**2 * torch.hypot(*inverses)
