"""The MUSES layout around painted streets (dossier of open datasets, sections 8.2 and 8.3)."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.raster_io import check_names, checked_scenes, write_raster
from datamodules.miniature.street import sensors
from datamodules.miniature.street import street as kinds
from datamodules.miniature.street.scene import paint_street
from datamodules.miniature.street.street import Street

WEATHERS, TIMES = ("clear", "fog", "rain", "snow"), ("day", "night")
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64, "frames": (1, 0, 1), "weathers": ("fog",)},
    "demonstration": {"size": 192, "frames": (10, 2, 3)},
    "real": {"size": 1920, "frames": (1, 0, 1), "weathers": ("snow",)},
}
# training ids of Cityscapes; what is not listed has none
IDS = {
    kinds.ROAD: 0, kinds.ROAD_LINE: 0, kinds.SIDEWALK: 1, kinds.BUILDING: 2, kinds.WALL: 3,
    kinds.FENCE: 4, kinds.POLE: 5, kinds.TRAFFIC_LIGHT: 6, kinds.TRAFFIC_SIGN: 7,
    kinds.VEGETATION: 8, kinds.TERRAIN: 9, kinds.SKY: 10, kinds.PEDESTRIAN: 11, kinds.CARS: 13,
    kinds.TRUCK: 14, kinds.BUS: 15, kinds.TWO_WHEELER: 18,
}  # fmt: skip
IGNORED = 255
# snow lies on them
COVERED = (kinds.SIDEWALK, kinds.TERRAIN, kinds.GROUND, kinds.GROUND_RAIL, kinds.VEGETATION)
SNOW = 0.78  # reflectance
EMPTY, STEPS = 15000, 150  # of stored ranges, intensities and heights: steps per unit


def muses_ids(
    size: int = 64, frames: Sequence[int] = (1, 1, 1), weathers: Sequence[str] = WEATHERS
) -> list[str]:
    """List the frames that `write_muses` writes with these arguments.

    Every weather has `frames` (train, val, test) by day and as many by night.

    Example:
        >>> muses_ids(frames=(0, 0, 1), weathers=["fog"])
        ['test/fog/day/REC0002_frame_000000', 'test/fog/night/REC0002_frame_000000']
    """
    ids = []
    for part, count in zip(("train", "val", "test"), frames, strict=True):
        for weather in weathers:
            for time in TIMES:
                below = f"{part}/{weather}/{time}/REC{1 + WEATHERS.index(weather) % 2:04d}_frame"
                ids += [f"{below}_{40 * i:06d}" for i in range(count)]
    return ids


def write_muses(
    root: Path, *, size: int = 64, seed: int = 0, frames: Sequence[int] = (1, 1, 1),
    weathers: Sequence[str] = WEATHERS, progress: bool = False,
) -> None:  # fmt: skip
    """Write painted frames under `root` as an unpacked copy of MUSES, all of them labelled.

    A frame (width `size` in pixels, 1920 in reality; 9 rows for 16 columns) depends on (seed, id,
    size) alone. ValueError for an unknown weather, or a size below 32.
    """
    check_names("weather", weathers, WEATHERS)
    ids = muses_ids(size, frames, weathers)
    for frame in checked_scenes(ids, ids, size, progress):
        _, weather, time, _ = frame.split("/")
        draw = [np.random.default_rng([seed, zlib.crc32(frame.encode()), i]) for i in range(4)]
        street = paint_street(size, draw[0])
        if weather == "snow":
            cover_with_snow(street)
        pictures: dict[tuple[str, str], NDArray[Any]] = {
            ("frame_camera", "frame_camera"): take_photo(street, weather, time, draw[1]),
            ("projected_to_rgb/event_camera", "event_camera"): store_events(street, draw[2]),
            ("projected_to_rgb/lidar", "lidar"): store_lidar(street, weather, draw[3]),
            ("gt_semantic", "gt_labelTrainIds"): label_ids(street),
        }
        for (folder, suffix), picture in pictures.items():
            # a camera sees less up and down than to the sides
            height = size * 9 // 16
            rows = slice((size - height) // 2, (size - height) // 2 + height)
            path = Path(root) / folder / f"{frame}_{suffix}.png"
            write_raster(path, picture[:, rows], "PNG", zlevel=1)


def take_photo(
    street: Street, weather: str, time: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the camera's picture, `(3, H, W)`."""
    by_day = "sun" if weather == "clear" else weather
    by_night = "night" if weather == "clear" else f"{weather}_night"
    return sensors.take_photo(street, by_day if time == "day" else by_night, "", rng)


def cover_with_snow(street: Street) -> None:
    """Whiten what lies open to the sky, but for the road, which is cleared."""
    lying = np.isin(street.label, COVERED) & (street.normal[1] > 0.3)
    street.colour[:, lying] = 0.15 * street.colour[:, lying] + 0.85 * SNOW


def store_events(street: Street, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return events as the release has them: none, darker, brighter, `(3, H, W)`."""
    brighter, darker = sensors.event_counts(street, rng)
    return np.stack([np.zeros_like(darker), darker, brighter])


def store_lidar(street: Street, weather: str, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return echoes as the release has them: height, intensity, range, `(3, H, W)`."""
    rows, columns, along = sensors.lidar_echoes(street, weather, rng)
    rays = street.rays[:, rows, columns] * along
    distance = np.linalg.norm(rays, axis=0)
    facing = np.abs((rays * street.normal[:, rows, columns]).sum(0)) / distance
    intensity = 120 * street.colour[:, rows, columns].mean(0) * (0.3 + 0.7 * facing)
    values = np.zeros((3, street.size, street.size))
    values[:, rows, columns] = rays[1], intensity, distance
    return (values * STEPS + EMPTY).astype(np.uint16)


def label_ids(street: Street) -> NDArray[np.uint8]:
    """Return the label, `(1, H, W)`."""
    table = np.full(256, IGNORED, np.uint8)
    for kind, number in IDS.items():
        table[kind] = number
    return table[street.label][None]
