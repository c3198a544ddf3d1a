"""Loss functions shared by the methods."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32


def cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over valid pixels.

    Pixels are flattened first: the loss over rows has a deterministic CUDA kernel, the one over maps has none.

    Args:
        logits: B x K x H x W, before softmax; half precision is computed in float32.
        mask: B x H x W int64 class ids, `ignore_index` where unlabelled.
        ignore_index: label value to leave out.

    Returns:
        A scalar; exactly 0, with a graph to `logits`, when no pixel is valid.
    """
    rows = at_least_float32(logits).permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    total = F.cross_entropy(rows, mask.reshape(-1), ignore_index=ignore_index, reduction="sum")
    valid = torch.count_nonzero(mask != ignore_index).clamp(min=1)
    return total / valid
