"""A network whose predictions a test knows beforehand."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn


class KnownNetwork(nn.Module):
    """Encodes nothing; a subclass says in `decode` what it predicts from which images."""

    def __init__(self) -> None:
        super().__init__()
        # pictures are made on the device of the weights
        self.weight = nn.Parameter(torch.zeros(1))

    def sees(self, modalities: Collection[str]) -> bool:
        return True

    def encode(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        return images

    def decode(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        raise NotImplementedError
