"""Weights of the pixels of a window where windows of a map overlap."""

from __future__ import annotations

import torch
from torch import Tensor


def window_weights(window: int) -> Tensor:
    """Weigh the pixels of a window, int64 `(window, window)`.

    Level inside, falling to 1 over the outer eighth.

    Example:
        >>> window_weights(16)[8].tolist()
        [2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2]
    """
    # nearly level, as a mean of many windows is the steadier the more alike they weigh; not quite,
    # as networks are least sure at the borders of what they see (docs/predict.md)
    near = torch.arange(1, window + 1)
    side = torch.minimum(near, near.flip(0)).clamp(max=max(window // 8, 1))
    return side[:, None] * side
