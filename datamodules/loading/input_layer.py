"""A modality as networks see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datamodules.loading.normalize import Normalizer


@dataclass(frozen=True)
class InputLayer:
    """A modality as the network sees it, read from the column `raster` of the store.

    `optical_top` is the largest storable value where colour jitter applies, else None.
    """

    name: str
    raster: str
    channels: int
    normalizer: Normalizer
    optical_top: float | None
    # of the raster behind it, and of its values in every scene
    unit: str = ""
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
