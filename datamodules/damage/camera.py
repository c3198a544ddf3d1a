"""What the electronics of an optical camera make of the light."""

from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
from PIL import Image

from datamodules.damage.fields import Floats, normal, of_scene
from datamodules.damage.site import BYTES, Damage, Site

UNIT = 16  # pixels a side of the blocks in which JPEG stores colour at half the resolution


@dataclass(frozen=True)
class SensorNoise(Damage):
    """Shot and read noise of a sensor in which white is so many `electrons` (EMVA 1288).

    Electrons arrive by a Poisson law, taken in its Gaussian limit, and reading them out adds a
    deviation of `read` electrons. Values are not rounded again.
    """

    limits: ClassVar = {"electrons": (1, 1e9), "read": (0, 1e6)}

    electrons: float
    read: float = 3.0

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        black, white = site.span
        counts = np.float32(max(white - black, 1e-6) / self.electrons)  # of one electron
        arrived = np.maximum((values - np.float32(black)) / counts, 0)
        noise = np.sqrt(arrived + np.float32(self.read**2)) * counts
        return site.clip(values + noise * normal(site.key, site.place, len(values)))


@dataclass(frozen=True)
class Tone(Damage):
    """Brightness and contrast: values move away from the middle grey by the factor `contrast`.

    Then `brightness`, a share of the range from black to white, is added.
    """

    limits: ClassVar = {"brightness": (-1, 1), "contrast": (0, 10)}

    brightness: float = 0.0
    contrast: float = 1.0

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        black, white = site.span
        grey = np.float32((black + white) / 2)
        added = np.float32(self.brightness * (white - black))
        return site.clip((values - grey) * np.float32(self.contrast) + grey + added)


@dataclass(frozen=True)
class ColourCast(Damage):
    """A warm or a cold light, which of them is drawn: gains of the channels fall or rise evenly.

    They run from `1 + strength` to `1 - strength`; a single channel has one of the two.
    """

    limits: ClassVar = {"strength": (0, 1)}

    strength: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return site.clip(values * self.find_gains(site, len(values)))

    def find_gains(self, site: Site, channels: int) -> Floats:
        """Return the gain of each channel, `(C, 1, 1)`."""
        sign = 1 if of_scene(site.key) < 0.5 else -1
        steps = np.linspace(sign, -sign, channels, dtype=np.float32)[:, None, None]
        return 1 + np.float32(self.strength) * steps


@dataclass(frozen=True)
class Jpeg(Damage):
    """JPEG of a `quality` in 1..95 (libjpeg's scale), as a picture of the whole scene has it.

    Three channels are a colour picture (4:2:0), others each a grey one. Deeper values than bytes
    are brought to bytes from black to white first, as an export does.
    """

    limits: ClassVar = {"quality": (1, 95)}

    quality: int

    @property
    def margin(self) -> int:
        """See the base class."""
        # to the next whole block, and that block, whose colours reach into its neighbours
        return 2 * UNIT

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        black, white = site.span
        scale = np.float32(max(white - black, 1e-6) / BYTES)
        top, left = -site.place.row % UNIT, -site.place.col % UNIT
        below = (site.place.row + site.place.height) % UNIT
        right = (site.place.col + site.place.width) % UNIT
        blocks = np.s_[:, top : values.shape[1] - below, left : values.shape[2] - right]
        levels = np.rint((values[blocks] - np.float32(black)) / scale).clip(0, BYTES)
        compressed = values.copy()
        compressed[blocks] = black + scale * self.compress(levels.astype(np.uint8))
        return compressed

    def compress(self, pixels: np.ndarray) -> Floats:
        """Encode and decode uint8 `(C, H, W)`."""
        pictures = [pixels.transpose(1, 2, 0)] if len(pixels) == 3 else list(pixels)
        decoded = []
        for picture in pictures:
            file = BytesIO()
            image = Image.fromarray(np.ascontiguousarray(picture))
            image.save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
            decoded.append(np.atleast_3d(np.asarray(Image.open(file), np.float32)))
        return np.concatenate(decoded, axis=2).transpose(2, 0, 1)
