"""What damage is, and what it may know of the place where it happens."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from datamodules.damage.fields import Floats, Key
from datamodules.rasters.units import Clip
from datamodules.store.reader import Window

BYTES = 255.0


@dataclass(frozen=True)
class Site:
    """The place in a scene at which a raster is damaged.

    `place` holds the values given, margin included, in pixels of the scene; it may begin left of or
    above it. `fill`, `lowest` and `highest` are `(C, 1, 1)` and of the whole scene: what pixels
    without a measurement hold, the smallest and the largest value. `top` is the largest value that
    can be stored, None where there is none. `clip_db` is the range of linear backscatter in
    decibels, see `rasters.units`.
    """

    key: Key
    place: Window
    kind: str
    unit: str
    top: float | None
    fill: npt.NDArray[np.float32]
    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    clip_db: Clip = None

    @property
    def span(self) -> tuple[float, float]:
        """Black and white: 0 and 255 of bytes, else the scene's smallest and largest value.

        Files of 16 bits are seldom filled: the range of their type says nothing of the light.
        """
        if self.top == BYTES:
            return 0.0, BYTES
        return float(self.lowest.min()), float(self.highest.max())

    def clip(self, values: Floats) -> Floats:
        """Cut values to what can be stored."""
        return values if self.top is None else np.clip(values, 0.0, self.top)


class Damage:
    """One kind of damage in one severity: a frozen dataclass whose fields are the severity.

    All that is random comes from `fields`, with the key of the site: no severity enters it, so that
    a stronger one hides more of the same places. A pixel may depend on others no farther away than
    `margin`, and on where it lies in the scene; then it does not depend on the window that is read.

    `limits` are the least and the largest value of fields; one outside, or a fraction where a whole
    number is asked for, is a ValueError.
    """

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {}

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            low, high = self.limits.get(field.name, (-np.inf, np.inf))
            if not low <= value <= high:
                raise ValueError(f"{field.name} is {value:g}, not within {low:g} to {high:g}")
            if field.type is int:
                if value != int(value):
                    raise ValueError(f"{field.name} is {value:g}, not a whole number")
                # YAML's numbers arrive as floats
                object.__setattr__(self, field.name, int(value))

    @property
    def margin(self) -> int:
        """Pixels on every side that are needed beyond those wanted."""
        return 0

    def apply(self, values: Floats, site: Site) -> Floats:
        """Damage float32 `(C, H, W)`, which stay as they are; the margin's values do not matter."""
        raise NotImplementedError
