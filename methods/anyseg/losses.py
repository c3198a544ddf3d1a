"""What a student is told by a teacher: classes of pixels, features, and how sensors relate.

The terms of AnySeg (arXiv 2411.17141), whose losses survive in RobustSeg's repository; the ledger
says where that code computes something else, and why.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32


def class_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of the teacher's class probabilities from the student's, averaged over pixels.

    Both are logits (B, K, H, W); every pixel counts, labelled or not.

    Example:
        >>> class_divergence(torch.zeros(1, 2, 1, 1), torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1))
        tensor(0.3278)
    """
    return divergence(student, teacher, 1).sum(1).mean()


def feature_divergence(
    student: Sequence[Tensor], teacher: Sequence[Tensor], shown: Tensor, dim: int = 2
) -> Tensor:
    """KL of features, as softmax over their channels, per sensor that a sample shows.

    Per scale features are (M, B, C, h, w) and `shown` is bool (M, B); `dim` 3 takes the softmax
    over the rows of a map instead. Mean over elements and shown sensors, sum over scales.
    """
    total = student[0].new_zeros((), dtype=torch.float32)
    for one, other in zip(student, teacher, strict=True):
        total = total + mean_of_shown(divergence(one, other, dim).mean((2, 3, 4)), shown)
    return total


def mean_of_shown(values: Tensor, shown: Tensor) -> Tensor:
    """Average values (M, B) over the sensors that a sample shows, then over samples."""
    # where, not a product: what is not shown is without meaning
    return torch.where(shown, values * (shown / shown.sum(0)), 0.0).sum(0).mean()


def relation_difference(
    student: Sequence[Tensor], teacher: Sequence[Tensor], shown: Tensor
) -> Tensor:
    """Squared difference of how alike the sensors of a sample are to both networks.

    Arguments as for `feature_divergence`. Mean over pairs of shown sensors, sum over scales; 0
    where a sample shows one.
    """
    pairs = (shown[:, None] & shown[None]).movedim(2, 0)
    shares = pairs / pairs.sum((1, 2), keepdim=True)
    total = shares.new_zeros(())
    for one, other in zip(student, teacher, strict=True):
        squares = (sensor_similarity(one) - sensor_similarity(other)) ** 2
        total = total + torch.where(pairs, squares * shares, 0.0).sum((1, 2)).mean()
    return total


def sensor_similarity(features: Tensor) -> Tensor:
    """Mean over channels of the cosine of two sensors' maps: (M, B, C, h, w) -> (B, M, M)."""
    maps = F.normalize(at_least_float32(features).flatten(3), dim=3)
    return torch.einsum("mbcp,nbcp->bmn", maps, maps) / features.shape[2]


def divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Summands of the KL of logits along `dim`, teacher from student, in at least float32."""
    predicted = at_least_float32(student).log_softmax(dim)
    wanted = at_least_float32(teacher).log_softmax(dim)
    return F.kl_div(predicted, wanted, reduction="none", log_target=True)
