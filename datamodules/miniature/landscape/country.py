"""Paints country at 10 m: hills, a river that meanders through its valley, and what covers it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
GSD = 10.0  # metres
LAKES = 1.9  # deviations above which a noise field is one


@dataclass(frozen=True)
class Cover:
    """What lies on the ground as satellites see it.

    `percent` is the reflectance in the 13 bands of Sentinel-2 in their order, `vv` and `vh` the
    backscatter in dB, `grain` how much both vary from pixel to pixel, relative.
    """

    name: str
    percent: tuple[float, ...]
    vv: float
    vh: float
    grain: float


# what is alike in one sensor has to be told apart by another: paddies look like wetland but lie
# higher, soil looks like a town but sends nothing back, smooth sand is as dark to radar as water
COVERS = (
    Cover("water", (6, 5.5, 5.5, 4, 3.2, 2.8, 2.7, 2.3, 2.1, 1.5, 0.1, 1.1, 0.8), -19, -26, 0.05),
    Cover("wetland", (5, 5.5, 7.5, 6, 10, 18, 21, 22, 23, 17, 0.1, 13, 7), -12.5, -18.5, 0.10),
    Cover("paddy", (5, 5.6, 7.8, 6.2, 10.5, 19, 22, 23, 24, 18, 0.1, 14, 7.5), -12, -18, 0.06),
    Cover("crop", (4.5, 5, 8, 5.5, 11, 25, 30, 32, 33, 25, 0.2, 20, 11), -10.5, -16.5, 0.05),
    Cover("stubble", (7, 8, 11, 13, 16, 20, 22, 24, 25, 19, 0.2, 28, 21), -12, -19.5, 0.06),
    Cover("forest", (3.5, 3.6, 5.5, 3.6, 8, 20, 25, 26, 27, 21, 0.2, 13, 6), -8.5, -13.5, 0.12),
    Cover("grass", (5, 5.6, 8.5, 7, 13, 22, 26, 28, 29, 22, 0.2, 22, 13), -12.5, -19, 0.07),
    Cover("sand", (10, 12, 15, 18, 20, 22, 23, 24, 25, 19, 0.2, 30, 26), -18, -25, 0.06),
    Cover("soil", (9, 10.5, 13, 15.5, 17.5, 19.5, 20.5, 21, 22, 17, 0.2, 26, 22), -14.5, -22, 0.16),
    Cover("town", (9.5, 11, 13.5, 15.5, 17, 19, 20, 21, 22, 17, 0.2, 25, 21.5), -4.5, -11.5, 0.24),
)
INDEX = {cover.name: number for number, cover in enumerate(COVERS)}
FIELDS = ("paddy", "crop", "crop", "stubble")  # what a field may hold
FIELD_PX = (9.0, 16.0)  # about the sides of a field


@dataclass(frozen=True)
class Country:
    """Ground as it really is, all `(H, W)`.

    `cover` is an index into `COVERS`, `shade` a factor of brightness of its field or patch,
    `elevation` metres above the sea, `above` metres above the river's level nearby.
    """

    cover: NDArray[np.uint8]
    shade: Floats
    elevation: Floats
    above: Floats

    def holds(self, *names: str) -> Mask:
        """Return where one of the named covers lies."""
        return np.isin(self.cover, [INDEX[name] for name in names])


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
    """Draw a field of mean 0 and deviation 1 whose largest forms are about `size` pixels wide.

    Beyond that its amplitude falls with the cube of the frequency: forms have clear edges.
    """
    across, down = np.fft.rfftfreq(shape[1]), np.fft.fftfreq(shape[0])[:, None]
    amplitude = (across**2 + down**2 + 1 / size**2) ** -1.5
    amplitude[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(0, 1, shape)) * amplitude, shape)
    return np.asarray(field / field.std())


def paint_country(shape: tuple[int, int], rng: np.random.Generator) -> Country:
    """Paint `shape` (rows, columns) pixels of country around a piece of a river.

    Example:
        >>> country = paint_country((40, 64), np.random.default_rng(0))
        >>> country.cover.shape, bool(country.holds("water").any())
        ((40, 64), True)
    """
    along, distance = _river(shape, rng)
    valley = rng.uniform(32, 60)  # px from the river to the foot of the hills
    hill = 1 - np.exp(-((distance / valley) ** 4))
    relief = rng.uniform(50, 130) * np.clip(0.7 + 0.5 * fractal_noise(rng, shape, 70), 0.1, None)
    floor = 4 * distance / valley + 1.0 * fractal_noise(rng, shape, 24)
    above = np.clip(floor, 0.3, None) + hill * relief
    river = distance < rng.uniform(2.0, 4.5) + 0.8 * fractal_noise(rng, shape, 12)
    above[river] = 0
    lakes, number = ndimage.label((fractal_noise(rng, shape, 24) > LAKES) & ~river)
    levels = np.append(0, ndimage.minimum(above, lakes, range(1, number + 1)))
    above = np.where(lakes > 0, levels[lakes], above)
    cover, shade = _cover(above, distance / valley, river | (lakes > 0), rng)
    fall = rng.uniform(0.01, 0.05) * along  # m that the river falls
    return Country(cover, shade, rng.uniform(40, 200) + fall + above, above)


def _river(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw a river; return the way along it and the distance from its middle, in pixels."""
    turn = rng.uniform(0, np.pi)
    rows, columns = np.indices(shape) - np.array(shape).reshape(2, 1, 1) / 2
    along = columns * np.cos(turn) + rows * np.sin(turn)
    across = rows * np.cos(turn) - columns * np.sin(turn) + rng.uniform(-0.15, 0.15) * min(shape)
    bend = slope = np.zeros(shape)
    for length, most in ((150, 17), (60, 7), (27, 2.5)):
        phase, reach = rng.uniform(0, 2 * np.pi), most * rng.uniform(0.5, 1)
        angle = 2 * np.pi * along / length + phase
        bend = bend + reach * np.sin(angle)
        slope = slope + 2 * np.pi / length * reach * np.cos(angle)
    # the river passes the middle, however small the picture
    bend -= bend[shape[0] // 2, shape[1] // 2]
    line = np.abs(across - bend) < np.hypot(1, slope)
    return along, np.asarray(ndimage.distance_transform_edt(~line))


def _cover(
    above: Floats, reach: Floats, water: Mask, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Floats]:
    """Choose what covers the ground; `reach` is 1 where the hills begin."""
    shape = above.shape
    cover, shade = _fields(shape, rng)
    wild, patch, dry, busy = (fractal_noise(rng, shape, size) for size in (50, 30, 22, 35))
    steep = np.hypot(*np.gradient(above)) / GSD
    hilly = (reach > 1) & (above > 12) | (steep > 0.15)
    by_cover = {
        "grass": hilly | (patch > 1.3),
        "forest": hilly & (wild + 2 * steep > 0.3),
        "soil": (dry > 1.4) & (reach > 0.4),
        "town": (busy > 1.0) & (above > 2) & (steep < 0.15),
        "wetland": (above < 1.7) & (patch > 0),
        "sand": (above < 1.0) & (dry > 0.9) | (dry < -2.0),
        "water": water,
    }
    for name, where in by_cover.items():  # later ones lie on top
        cover[where] = INDEX[name]
        if name != "water":
            shade[where] = 1 + 0.06 * wild[where]
    shade[water] = 1
    return cover, shade


def _fields(shape: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.uint8], Floats]:
    """Cut the ground into fields, turned as one, and draw what each holds."""
    turn, (short, long) = rng.uniform(0, np.pi), FIELD_PX
    rows, columns = np.indices(shape)
    turned = np.stack([
        (columns * np.cos(turn) + rows * np.sin(turn)) / long,
        (rows * np.cos(turn) - columns * np.sin(turn)) / short,
    ], axis=-1)  # fmt: skip
    low, high = turned.min((0, 1)), turned.max((0, 1))
    middles = rng.uniform(low, high, (max(4, int(np.prod(high - low))), 2))
    # the larger of both distances makes corners, as fences do
    field = cKDTree(middles).query(turned.reshape(-1, 2), p=np.inf)[1].reshape(shape)
    held = np.array([INDEX[name] for name in FIELDS], np.uint8)
    kinds = rng.choice(held, len(middles))
    return kinds[field], rng.normal(1, 0.09, len(middles))[field]
