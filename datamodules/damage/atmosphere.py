"""What stands between the ground and an optical sensor."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from datamodules.damage.fields import Floats, fractal, smooth
from datamodules.damage.site import Damage, Site


@dataclass(frozen=True)
class Haze(Damage):
    """Haze by the scattering model: `I = J t + A (1 - t)` (Koschmieder 1924; Narasimhan and Nayar).

    The optical depth `-log t` is that of `transmission`, in the median, and varies over `length`
    pixels by a factor of `exp(+-variation)`; `airlight` A is a share of the white. All bands are
    veiled alike, as by drops that are larger than the wavelengths.
    """

    limits: ClassVar = {"transmission": (0.01, 1), "airlight": (0, 1), "length": (1, 1e5)}

    transmission: float
    airlight: float = 0.8
    variation: float = 0.3
    length: int = 256

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        black, white = site.span
        airlight = np.float32(black + self.airlight * (white - black))
        seen = self.find_transmission(site)
        return values * seen + airlight * (1 - seen)

    def find_transmission(self, site: Site) -> Floats:
        """Return t, the share of the ground's light that arrives, `(1, H, W)`."""
        depth = -np.log(self.transmission)
        varied = np.exp(np.float32(self.variation) * smooth(site.key, site.place, self.length))
        return np.exp(np.float32(-depth) * varied)


@dataclass(frozen=True)
class Clouds(Damage):
    """Clouds over `cover` of the area, expected, and their shadows.

    Where a fractal field exceeds its quantile of `cover`, cloud replaces the ground, softly at the
    rim. The shadow is the cloud moved by `down` and `right` pixels and takes `shade` of the light.
    Sizes are in pixels: not every dataset knows its metres.
    """

    limits: ClassVar = {"cover": (0.001, 0.999), "shade": (0, 1), "largest": (1, 1e5)}

    cover: float
    down: int = 40
    right: int = 24
    shade: float = 0.6
    brightness: float = 0.95
    largest: int = 128

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        black, white = site.span
        cloud = np.float32(black + self.brightness * (white - black))
        dark = np.float32(self.shade) * self.find_shadow(site)
        opaque = self.find_opacity(site)
        ground = black + (values - np.float32(black)) * (1 - dark)
        return ground * (1 - opaque) + cloud * opaque

    def find_opacity(self, site: Site, rows: int = 0, cols: int = 0) -> Floats:
        """Return what share of the light a cloud takes, `(1, H, W)`, so many pixels farther on."""
        place = site.place._replace(row=site.place.row + rows, col=site.place.col + cols)
        excess = fractal(site.key, place, self.largest) - self.threshold
        # half opaque where the quantile is
        return np.clip(0.5 + excess / np.float32(RIM), 0, 1)

    def find_shadow(self, site: Site) -> Floats:
        """Return the opacity of the cloud in whose shadow a pixel lies, `(1, H, W)`."""
        return self.find_opacity(site, -self.down, -self.right)

    @property
    def threshold(self) -> np.float32:
        """Quantile of the normal distribution that the field exceeds in `cover` of the area."""
        return np.float32(NormalDist().inv_cdf(1 - self.cover))


RIM = 0.6  # deviations of the field from clear to opaque
