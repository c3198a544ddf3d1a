"""What camera, depth, event camera and LiDAR make of a street; weather hurts the camera most.

Encodings: dataset dossier, 6.4. Each function takes the street and a random generator of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.street.street import BUILDING, TERRAIN, VEGETATION, WATER, Street

Picture = NDArray[np.uint8]
LOW_EVENTS = (512, 1042)  # side of low-resolution event images, and of the others (dossier 6.4)
THRESHOLD, MOST_EVENTS = 0.09, 20  # change per event, events of a pixel
LOG_RANGE = 5.70378  # of the logarithmic depth picture, which ends at 1000 m


@dataclass(frozen=True)
class Weather:
    """Light and air: ambient and direct light, sky above and at the horizon, sight (m), noise."""

    ambient: float
    direct: float
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    sight: float
    noise: float


WEATHERS = {
    "sun": Weather(0.55, 1.05, (0.42, 0.60, 0.88), (0.80, 0.84, 0.88), 2500, 2.0),
    "cloud": Weather(0.85, 0.30, (0.62, 0.66, 0.71), (0.74, 0.76, 0.78), 900, 2.5),
    "rain": Weather(0.55, 0.12, (0.36, 0.39, 0.43), (0.45, 0.48, 0.51), 120, 5.0),
    "fog": Weather(0.72, 0.10, (0.70, 0.71, 0.72), (0.72, 0.73, 0.74), 16, 2.5),
    "night": Weather(0.045, 0.02, (0.012, 0.014, 0.028), (0.035, 0.033, 0.045), 400, 7.0),
    "snow": Weather(0.72, 0.10, (0.60, 0.62, 0.65), (0.68, 0.70, 0.72), 70, 3.5),
    "rain_night": Weather(0.035, 0.01, (0.010, 0.011, 0.020), (0.030, 0.030, 0.036), 110, 8.0),
    "fog_night": Weather(0.045, 0.01, (0.050, 0.050, 0.055), (0.060, 0.060, 0.064), 22, 7.5),
    "snow_night": Weather(0.055, 0.01, (0.030, 0.031, 0.038), (0.050, 0.050, 0.055), 70, 8.0),
}


def take_photo(street: Street, weather: str, case: str, rng: np.random.Generator) -> Picture:
    """Return the camera's picture, `(3, H, W)`."""
    air = WEATHERS[weather]
    image = _light(street, air, rng)
    if weather.endswith("night"):
        image += _lamps(street, rng)
    # air scatters the horizon's light into the view (Koschmieder)
    near = np.exp(-np.minimum(street.depth, 1e6) / air.sight)
    image = image * near + np.array(air.horizon)[:, None, None] * (1 - near)
    sky, hidden = _sky(street, air, rng), street.sky
    image[:, hidden] = sky[:, hidden]
    if weather.startswith("rain"):
        image = _rain(image, rng)
    elif weather.startswith("snow"):
        image = _snow(image, air, rng)
    if case == "motionblur":
        length = max(3, round(street.size * float(rng.uniform(0.06, 0.10))))
        axis = int(rng.choice([1, 2], p=[0.25, 0.75]))
        image = ndimage.uniform_filter1d(image, length, axis=axis, mode="nearest")
    # an overexposed sky, and more than the sky, is white
    bright = min(8.0, float(rng.uniform(1.5, 2.2)) / air.horizon[1])
    dark = float(rng.uniform(0.07, 0.14))
    gain = {"overexposure": bright, "underexposure": dark}.get(case, 1.0)
    counts = 255 * np.clip(gain * image, 0, 1.3) ** (1 / 1.6)
    noise = air.noise * (1.6 if case == "underexposure" else 1)
    return _counts(counts + rng.normal(0, noise, counts.shape))


def _light(street: Street, air: Weather, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the light that comes from every surface, without the air between, `(3, H, W)`."""
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 0.9)
    # the sun stands behind the camera, else everything in view would be dark
    ahead = -abs(np.cos(azimuth)) * np.cos(height)
    sun = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), ahead])
    lit = np.clip(np.tensordot(sun, street.normal, 1), 0, None)
    fine = rng.normal(0, 1, street.depth.shape)
    coarse = ndimage.gaussian_filter(rng.normal(0, 1, street.depth.shape), street.size / 40)
    coarse /= coarse.std()
    grain = np.full(256, 0.035)
    grain[[VEGETATION, TERRAIN, BUILDING, WATER]] = (0.16, 0.10, 0.05, 0.07)
    texture = 1 + grain[street.label] * (fine + 0.8 * coarse)
    light = air.ambient * (0.8 + 0.2 * street.normal[1]) + air.direct * lit
    return street.colour * np.clip(texture, 0.3, 1.7) * light


def _sky(street: Street, air: Weather, rng: np.random.Generator) -> NDArray[np.float64]:
    rise = np.clip(street.rays[1] / np.hypot(street.rays[0], street.rays[2]), 0, 1) ** 0.6
    noise = rng.normal(0, 1, street.depth.shape)
    clouds = ndimage.gaussian_filter(noise, (street.size / 40, street.size / 16))
    low, high = (np.array(colour)[:, None, None] for colour in (air.horizon, air.zenith))
    return (low + (high - low) * rise) * (1 + 0.05 * clouds / clouds.std())


def _lamps(street: Street, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the glow of lamps, and what our own headlights reach, `(3, H, W)`."""
    glow = np.zeros((3, street.size, street.size))
    rows, columns = np.mgrid[: street.size, : street.size]
    for lamp in street.lamps:
        away = np.hypot(columns - lamp.column, rows - lamp.row) / street.size
        width = np.clip(0.25 / lamp.distance, 0.006, 0.03)
        light = 0.9 * np.exp(-((away / width) ** 2)) + 0.25 * np.exp(-away * lamp.distance / 0.8)
        glow += light * np.array(lamp.colour)[:, None, None]
    side = (columns - street.size / 2) / street.size
    beam = np.exp(-((side / 0.28) ** 2)) * np.clip(9 / np.maximum(street.depth, 4), 0, 1) ** 1.3
    return glow + float(rng.uniform(0.35, 0.6)) * street.colour * beam


def _rain(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Add streaks, and drops on the glass that blur what is behind them."""
    size = image.shape[-1]
    drops = (rng.random(image.shape[1:]) < 0.006).astype(float)
    streaks = np.clip(ndimage.uniform_filter1d(drops, max(3, size // 12), axis=0) * size / 12, 0, 1)
    spots = (rng.random(image.shape[1:]) < 12 / size**2).astype(float)
    glass = ndimage.gaussian_filter(spots, size / 50)
    glass = np.clip(glass / max(float(glass.max()), 1e-9) * 2, 0, 1)
    blurred = ndimage.gaussian_filter(image, (0, size / 40, size / 40))
    image = image + glass * (blurred - image)
    return image + 0.10 * streaks


def _snow(
    image: NDArray[np.float64], air: Weather, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Add flakes in the light of the horizon: many small ones, and a few near the lens."""
    size = image.shape[-1]
    for share, width in ((0.02, 0.4), (6 / size**2, size / 60)):
        flakes = (rng.random(image.shape[1:]) < share).astype(float)
        flakes = ndimage.gaussian_filter(flakes, width)
        veil = np.clip(0.6 * flakes / max(float(flakes.max()), 1e-9), 0, 1)
        image = image + veil * (1.2 * np.array(air.horizon)[:, None, None] - image)
    return image


def hha_image(street: Street, rng: np.random.Generator) -> Picture:
    """Return disparity, height above ground, and the surface's angle to gravity, `(3, H, W)`."""
    angle = np.degrees(np.arccos(np.clip(street.normal[1], -1, 1)))
    # the sky has no surface: the encoding's largest angle and height stand for it
    angle[street.sky] = 180
    above = np.where(street.sky, 13, street.above)
    # surfaces are estimated from neighbours, so angles mix at edges
    angle = ndimage.uniform_filter(angle, 3, mode="nearest") + rng.normal(0, 4, angle.shape)
    disparity = 255 * 2.2 / np.maximum(street.depth, 2.2)
    return _counts(np.stack([disparity, above * 19 + 5, angle * 255 / 180]))


def grey_depth(street: Street) -> Picture:
    """Return the logarithmic depth picture, `(1, H, W)`: 1 nearest, 255 the sky (dossier 6.4)."""
    metres = np.clip(street.depth, 1e-3, 1000)
    return _counts(255 * np.clip(1 + np.log(metres / 1000) / LOG_RANGE, 0.005, 1))[None]


def event_image(street: Street, rng: np.random.Generator, low: bool = False) -> Picture:
    """Return where the brightness has risen (red) and fallen (blue) since the frame before.

    With `low`, fewer pixels: see `LOW_EVENTS`.
    """
    change = brightness_change(street, rng)
    picture = np.zeros((3, street.size, street.size), np.uint8)
    picture[0], picture[2] = 255 * (change > THRESHOLD), 255 * (change < -THRESHOLD)
    if not low:
        return picture
    side = street.size * LOW_EVENTS[0] // LOW_EVENTS[1]
    picked = np.arange(side) * street.size // side
    return picture[:, picked[:, None], picked[None, :]]


def event_counts(street: Street, rng: np.random.Generator) -> Picture:
    """Return how often the brightness has risen and fallen by a step, `(2, H, W)`."""
    steps = brightness_change(street, rng) / THRESHOLD
    return np.clip(np.stack([steps, -steps]), 0, MOST_EVENTS).astype(np.uint8)


def brightness_change(street: Street, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the change of the logarithm of the brightness since the frame before, `(H, W)`.

    The picture moves because the car drives and turns and because others move; an event camera
    works by night, but a car that stands sees only what moves.
    """
    lit = (street.colour * (0.75 + 0.25 * street.normal[1] + 0.15 * street.normal[0])).mean(0)
    lit = np.where(street.sky, 0.85, lit)
    brightness = np.log(ndimage.gaussian_filter(lit, 0.5) + 0.05)
    down, right = np.gradient(brightness)
    speed, turn = rng.choice([0.0, rng.uniform(0.25, 0.9)], p=[0.12, 0.88]), rng.normal(0, 0.008)
    depth = np.minimum(street.depth, 1e4)
    across = (np.arange(street.size) + 0.5 - street.size / 2)[None, :]
    along = (np.arange(street.size) + 0.5 - street.centre)[:, None]
    towards = (speed - street.moving[1]) / depth
    flow_right = across * towards + street.focal * (street.moving[0] / depth + turn)
    # brightness constancy: what flows along a gradient changes the pixel
    change = -(right * flow_right + down * (along * towards)) * 128 / street.size
    change += rng.normal(0, 0.02, change.shape)
    stray = np.where(rng.random(change.shape) < 0.004, rng.choice([-1.0, 1.0], change.shape), 0)
    change += stray
    return np.asarray(change)


def lidar_image(
    street: Street, weather: str, rng: np.random.Generator, jitter: bool = False
) -> Picture:
    """Return echoes on scan rings, `(3, H, W)` with equal channels: 0 none, else by distance."""
    picture = np.zeros((street.size, street.size), np.uint8)
    rows, columns, distance = lidar_echoes(street, weather, rng, jitter)
    picture[rows, columns] = np.clip(distance * 2.9, 1, 255).astype(np.uint8)
    return np.stack([picture] * 3)


def lidar_echoes(
    street: Street, weather: str, rng: np.random.Generator, jitter: bool = False
) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.float64]]:
    """Return rows, columns and distances (m along the view) of echoes, the farthest first.

    Rain and fog swallow some and send some back early; with `jitter` the rings are displaced.
    """
    rings = np.radians(np.linspace(-26, 9, max(16, street.size // 5)))
    steps = np.linspace(-0.75, 0.75, max(64, street.size))
    elevation, azimuth = np.meshgrid(rings, steps, indexing="ij")
    column = np.tan(azimuth) * street.focal + street.size / 2
    row = street.centre - np.tan(elevation) / np.cos(azimuth) * street.focal
    inside = (column >= 0) & (column < street.size) & (row >= 0) & (row < street.size)
    rows, columns = row[inside].astype(int), column[inside].astype(int)
    distance = street.depth[rows, columns].astype(float)
    lost = {"fog": 0.35, "rain": 0.25, "snow": 0.30}.get(weather, 0.08)
    kept = (distance < 85) & (rng.random(distance.shape) > lost)
    share = 0.03 if weather in ("fog", "rain", "snow") else 0.0
    early = (rng.random(distance.shape) < share) & kept
    distance[early] = np.minimum(distance[early], rng.uniform(2, 10, int(early.sum())))
    rows, columns, distance = rows[kept], columns[kept], distance[kept]
    if jitter:
        shift = rng.normal(0, 0.03 * street.size, (2, len(rings)))
        ring = np.nonzero(inside)[0][kept]
        wobble = rng.normal(0, 0.01 * street.size, rows.shape)
        rows = rows + np.rint(shift[0, ring] + wobble).astype(int)
        columns = columns + np.rint(shift[1, ring]).astype(int)
        seen = (rows >= 0) & (rows < street.size) & (columns >= 0) & (columns < street.size)
        rows, columns, distance = rows[seen], columns[seen], distance[seen]
    order = np.argsort(-distance)  # the nearer return covers the farther one
    return rows[order], columns[order], distance[order]


def _counts(values: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
