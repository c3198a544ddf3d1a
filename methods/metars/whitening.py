"""Which covariances of features tell sensors apart, and the loss that removes these."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from methods.metars.clusters import top_of_lowest_cluster
from methods.parts.precision import at_least_float32, no_autocast

EPS = 1e-5
CLUSTERS = 10


def covariances(maps: Tensor) -> Tensor:
    """Covariances of the channels of instance-normed maps (N, C, h, w): (N, C, C)."""
    rows = at_least_float32(maps).flatten(2)
    with no_autocast(rows.device):
        products = rows @ rows.mT
    eye = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    return products / (rows.shape[2] - 1) + EPS * eye


def sum_of_variances(maps: Tensor, there: Tensor) -> Tensor:
    """Sum over images the variance between sensors of each covariance: (C, C).

    Maps are (M, B, C, h, w) and `there` is bool (M, B). Unbiased; for two sensors a, b it is
    (a - b)^2 / 2. An image of a single sensor adds 0.
    """
    tables = covariances(maps.flatten(0, 1)).unflatten(0, there.shape)
    shown = there[:, :, None, None]
    count = there.sum(0)[:, None, None]
    means = torch.where(shown, tables, 0.0).sum(0) / count.clamp(min=1)
    squares = torch.where(shown, (tables - means) ** 2, 0.0).sum(0)
    return (squares / (count - 1).clamp(min=1)).sum(0)


class Whitening(nn.Module):
    """Masks of the covariances that vary between sensors, and the mean size of what they mask.

    Args:
        widths: channels C of the kept maps. A mask (C, C) is in the lower triangle and on the
            diagonal False, and everywhere until `fit`.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.names = [f"mask_{number}" for number in range(len(widths))]
        for name, width in zip(self.names, widths, strict=True):
            self.register_buffer(name, torch.zeros(width, width, dtype=torch.bool))

    def fit(self, variances: Sequence[Tensor]) -> None:
        """Keep of each table (C, C) what lies above the lowest of ten clusters of its entries."""
        for name, table in zip(self.names, variances, strict=True):
            # with the zeros below, as released: they are of the lowest cluster
            upper = table.triu(1)
            limit = top_of_lowest_cluster(upper.cpu().numpy().ravel(), CLUSTERS)
            getattr(self, name).copy_(upper > limit)

    def forward(self, kept: Sequence[Tensor], shown: Tensor) -> Tensor:
        """Average the masked covariances' absolute values over scales and shown images.

        `kept` are maps (M, B, C, h, w) and `shown` is bool (M, B); 0 where a mask is empty.
        """
        sizes = []
        for name, maps in zip(self.names, kept, strict=True):
            mask = getattr(self, name)
            total = (covariances(maps.flatten(0, 1)).abs() * mask).sum((1, 2))
            sizes.append(total / mask.sum().clamp(min=1))
        means = torch.stack(sizes).mean(0).unflatten(0, shown.shape)
        return torch.where(shown, means, 0.0).sum() / shown.sum()


def content_distance(contents: Sequence[Tensor], shown: Tensor) -> Tensor:
    """Mean squared distance of two sensors' maps, over pairs that an image shows and over scales.

    Arguments as for `Whitening`; 0 without a pair.
    """
    total, count = shown.new_zeros((), dtype=torch.float32), shown.new_zeros((), dtype=torch.long)
    for one, other in combinations(range(len(shown)), 2):
        both = shown[one] & shown[other]
        for maps in contents:
            squares = (at_least_float32(maps[one]) - at_least_float32(maps[other])) ** 2
            total = total + torch.where(both, squares.mean((1, 2, 3)), 0.0).sum()
        count = count + both.sum()
    return total / (count * len(contents)).clamp(min=1)
