"""The DELIVER layout around painted streets: names, folders and bands of the release.

Source of every name and rule: dataset dossier, sections 6 and 11.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.raster_io import check_names, checked_scenes, write_raster
from datamodules.miniature.street import sensors
from datamodules.miniature.street.scene import paint_street
from datamodules.miniature.street.street import UNLABELLED, Street

WEATHERS = ("cloud", "fog", "night", "rain", "sun")
CASES = ("motionblur", "overexposure", "underexposure", "lidarjitter", "eventlowres")
CORNER_SHARE = 0.35  # of the frames of each weather and split (dossier 6.3)
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 40, "frames": (2, 2, 2)},
    "demonstration": {"size": 128, "frames": (20, 4, 8)},
    "real": {"size": 1042, "frames": (1, 0, 1), "weathers": ("night",)},
}


def deliver_ids(
    size: int = 40, frames: tuple[int, int, int] = (2, 2, 2), weathers: Sequence[str] = WEATHERS
) -> list[str]:
    """List the frames that `write_deliver` writes with these arguments.

    Every weather has `frames` (train, val, test); about a third of them are corner cases, dealt so
    that each split has each case when all five weathers are there. All weathers share the names of
    their normal scenes.

    Example:
        >>> deliver_ids(frames=(0, 0, 2), weathers=["fog"])
        ['fog/test/MAP_1_point10/001550', 'fog/test/MAP_2_point11_overexposure/002050']
    """
    ids = []
    for number, weather in enumerate(WEATHERS):
        if weather not in weathers:
            continue
        for split, count in zip(("train", "val", "test"), frames, strict=True):
            corners = max(1, round(CORNER_SHARE * count)) if count > 1 else 0
            for i in range(count):
                k = i - (count - corners)  # the corner cases come last
                case = "" if k < 0 else f"_{CASES[(number + k) % len(CASES)]}"
                scene = f"MAP_{1 + i % 6}_point{10 + i}{case}"
                ids.append(f"{weather}/{split}/{scene}/{1550 + 500 * (i % 7):06d}")
    return ids


def write_deliver(
    root: Path, *, size: int = 40, seed: int = 0, frames: tuple[int, int, int] = (2, 2, 2),
    weathers: Sequence[str] = WEATHERS, ids: Sequence[str] | None = None, progress: bool = False,
) -> None:  # fmt: skip
    """Write painted frames under `root` as an unpacked copy of DELIVER.

    A frame (side `size` in pixels, 1042 in reality) depends on (seed, id, size) alone. `ids` are
    frames such as "night/val/MAP_1_point10/001550", by default those of `deliver_ids`. ValueError
    for an unknown weather, or a size below 32.
    """
    check_names("weather", weathers, WEATHERS)
    wanted = deliver_ids(size, frames, weathers) if ids is None else ids
    for frame in checked_scenes(wanted, wanted, size, progress):
        _write_frame(Path(root), frame, size, seed)


def deliver_street(size: int, seed: int, frame: str) -> Street:
    """Paint the street behind one frame: what is really there, before any sensor has seen it."""
    rng = _generator(seed, frame, 0)
    street = paint_street(size, rng)
    # half of the frames hold something nobody has labelled
    if rng.random() < 0.5:
        row, column = (int(size * rng.uniform(0.3, 0.8)) for _ in range(2))
        side = max(2, size // 16)
        street.label[row : row + side, column : column + side] = UNLABELLED
    return street


def _generator(seed: int, frame: str, stage: int) -> np.random.Generator:
    """Return a generator of its own for each frame: no two of them show the same place."""
    return np.random.default_rng([seed, zlib.crc32(frame.encode()), stage])


def _write_frame(root: Path, frame: str, size: int, seed: int) -> None:
    weather, _, scene, _ = frame.split("/")
    case = scene.partition("_point")[2].partition("_")[2]
    street = deliver_street(size, seed, frame)
    # a sensor draws from a generator of its own, so that a change to one leaves the others alone
    draw = [_generator(seed, frame, stage) for stage in range(1, 6)]
    rgb = sensors.take_photo(street, weather, case, draw[0])
    # some pictures of the release have a fourth band, opaque everywhere
    if zlib.crc32(frame.encode()) % 3 == 0:
        rgb = np.concatenate([rgb, np.full((1, size, size), 255, np.uint8)])
    event = sensors.event_image(street, draw[2], case == "eventlowres")
    points = sensors.lidar_image(street, weather, draw[3], case == "lidarjitter")
    pictures = {
        "img": ("rgb", rgb),
        "hha": ("depth", sensors.hha_image(street, draw[1])),
        "depth": ("depth", sensors.grey_depth(street)),
        "event": ("event", event),
        "lidar": ("lidar", points),
        "semantic": ("semantic", paint_semantic(street.label, draw[4])),
    }
    for folder, (suffix, picture) in pictures.items():
        write_raster(root / folder / f"{frame}_{suffix}_front.png", picture, "PNG", zlevel=1)


def paint_semantic(label: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the RGBA label picture; only red means something: id + 1, unlabelled 0 or 255."""
    picture = rng.integers(0, 256, (4, *label.shape), dtype=np.uint8)
    # both raw values mean unlabelled; one value per pixel, so that a reader meets both
    nothing = np.where(picture[1] < 128, 0, 255)
    picture[0] = np.where(label == UNLABELLED, nothing, label + 1)
    return picture
