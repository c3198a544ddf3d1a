"""MUSES: a car in fog, rain, snow and by night (dossier of open datasets, section 8).

    frame_camera/<part>/<weather>/<time>/<id>_frame_camera.png
    gt_semantic/<part>/<weather>/<time>/<id>_gt_labelTrainIds.png
    projected_to_rgb/{lidar,event_camera,radar}/<part>/<weather>/<time>/<id>_<sensor>[_projected].png

Only camera and label share a grid; the rest is read as the official program projects it to that of
the camera, as PNG. Kept in the store: `rgb`; `event` (how often a pixel became brighter, darker);
`lidar` (range, intensity, height) and, where a source has it, `radar` (range, intensity), all 0
where nothing returned; `label`. The last folders alone tell a frame, not words above them. OpenCV
writes those PNG files with the last channel first; where another program did not, values tell.
"""

import re

import numpy as np

from datamodules.adapters.dataset_card import read_dataset_card
from datamodules.adapters.open_data import planner, release
from datamodules.ingest.plan import Decode, ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.store.scene_store import PARTS, Modality
from usererror import UserError

WEATHERS, TIMES = ("clear", "fog", "rain", "snow"), ("day", "night")
LAYOUT = {  # raster: folder of the release, what its names end with
    "rgb": ("frame_camera", "frame_camera"),
    "event": ("event_camera", "event_camera"),
    "lidar": ("lidar", "lidar"),
    "radar": ("radar", "radar"),
    "label": ("gt_semantic", "gt_labelTrainIds"),
}
RASTERS = {folder: raster for raster, (folder, _) in LAYOUT.items()}
NAME = re.compile(r"(.+)_(\w+_camera|lidar|radar|gt_labelTrainIds)(_projected)?\.(\w+)$")
WITHHELD = "the test labels are withheld: scored on the validation frames"
UNREAD = "of {} not projected, or not as PNG"
PROJECT = "scripts/project_sensors_to_rgb.py of the MUSES SDK with --output_file_type .png"
# a stored value v of lidar and radar is (v - EMPTY) / STEPS: 0, no return, is EMPTY
EMPTY, STEPS = 15000, 150
MOST_RETURNS = 0.5  # share of a frame with laser returns; dilated ones cover a third


def plan_muses(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without frames or projected sensors."""
    tiles = planner.find_tiles(RELEASE, index, NAME, place_file)
    _check_projected(tiles, options)
    labelled = {frame.split("/")[0] for frame, files in tiles.files.items() if "label" in files}
    withheld = bool(labelled) and "test" not in labelled
    for frame in list(tiles.files) if withheld else ():
        if frame.startswith("test/"):
            tiles.ignored["of test frames without label"] += len(tiles.files.pop(frame))
    splits, told = {}, {}
    for frame in tiles.files:
        part, weather, time, _ = frame.split("/")
        on_val = {"train": "train", "val": "test"}.get(part, "unused")
        splits[frame] = {"split_standard": on_val if withheld else part, "split_val": on_val}
        told[frame] = {"weather": weather, "time": time, "weather_time": f"{weather} {time}"}
    cells = [f"{weather} {time}" for weather in WEATHERS for time in TIMES]
    seen = (row["weather_time"] for row in told.values())
    missing = planner.lacking_units(cells, seen, "frames of")
    plan = planner.plan_tiles(RELEASE, index, options, tiles, splits, told, missing)
    if withheld:
        plan.split_notes["split_standard"] = WITHHELD
    if read_dataset_card(index).title is None:
        # which options it was called with changes the data and is not in the files
        plan.title += " (projection: SDK default)"
    return plan


def place_file(file: SourceFile, match: re.Match[str]) -> planner.Place:
    """Return frame (`part/weather/time/id`) and raster of a file, or why it is ignored."""
    *above, folder, part, weather, time = ["", "", "", *planner.folders_of(file)]
    raster = RASTERS.get(folder)
    if raster is None or part not in PARTS or weather not in WEATHERS or time not in TIMES:
        return ""
    if match[2] != LAYOUT[raster][1]:
        return ""
    # what the radar records is a PNG too
    recorded = raster == "radar" and not match[3] and "project" not in "/".join(above)
    if recorded or match[4].lower() != "png":
        return UNREAD.format(folder)
    return f"{part}/{weather}/{time}/{match[1]}", raster


def _check_projected(tiles: planner.Tiles, options: ImportOptions) -> None:
    """Raise UserError where a needed sensor is there, but in no form that can be read."""
    for raster in ("event", "lidar"):
        folder, found = LAYOUT[raster][0], any(raster in files for files in tiles.files.values())
        unread = tiles.ignored[UNREAD.format(folder)]
        if unread and not found and not options.allow_incomplete:
            what = f"The {unread} files of {folder} are not projected to the camera, or not as PNG"
            raise UserError(f"{what}: run {PROJECT} --{folder}.")


def decode_lidar(stored: np.ndarray) -> np.ndarray:
    """Return range, intensity and height, float32 (3, h, w), from a file's bands of 16 bits.

    A range is never less than the height beside it, but for the rounding of both, which tells the
    bands apart. ValueError for a picture of another kind.

    Example:
        >>> one_return = np.array([[[14700, 15000]], [[15300, 15000]], [[16500, 15000]]], np.uint16)
        >>> decode_lidar(one_return)[:, 0, 0].tolist()
        [10.0, 2.0, -2.0]
    """
    first, intensity, last = _decode(stored)
    if (np.abs(first) <= last + 2 / STEPS).all():
        distance, height = last, first
    elif (np.abs(last) <= first + 2 / STEPS).all():
        distance, height = first, last
    else:
        raise ValueError(f"no band of it is a range in metres: write it anew by {PROJECT}")
    if (distance != 0).mean() > MOST_RETURNS:
        raise ValueError(f"more than half of its pixels are returns: write it anew by {PROJECT}")
    return np.stack([distance, intensity, height])


def decode_radar(stored: np.ndarray) -> np.ndarray:
    """Return range and intensity, float32 (2, h, w); ValueError for another kind of picture."""
    return _without_empty(_decode(stored))


def decode_event(stored: np.ndarray) -> np.ndarray:
    """Return events of rising and falling brightness, uint8 (2, h, w), from counts as they are.

    Those of 16 bits are stored as lidar is. ValueError for a picture of another kind.
    """
    counts = _without_empty(stored if stored.dtype == np.uint8 else _decode(stored))
    # the SDK counts in bytes as well
    return np.minimum(counts, 255).astype(np.uint8)


def _decode(stored: np.ndarray) -> np.ndarray:
    # in this order an empty pixel is 0 exactly
    return (stored.astype(np.float32) - EMPTY) / np.float32(STEPS)


def _without_empty(values: np.ndarray) -> np.ndarray:
    """Return the two bands that may hold values; the third one of the release is empty."""
    first, middle, last = values
    if values.min() < 0 or (first.any() and last.any()):
        raise ValueError(f"its first or last band should be empty: write it anew by {PROJECT}")
    return np.stack([first if first.any() else last, middle])


def projected(sensor: str, decode: Decode, *types: str) -> release.Reading:
    """Return how the projected files of a sensor are read."""
    return release.Reading(sensor, (1, 2, 3), (3,), types, decode=decode, needs_whole=True)


READINGS = {
    "rgb": release.Reading("rgb", (1, 2, 3), (3,), release.BYTES, may_reference=True),
    "event": projected("event", decode_event, "uint8", "uint16"),
    "lidar": projected("lidar", decode_lidar, "uint16"),
    "radar": projected("radar", decode_radar, "uint16"),
    "label": release.Reading("label", (1,), (1,), release.BYTES),
}
RELEASE = release.Release.read(
    "muses",
    modalities=(
        Modality("rgb", "R", 3, "uint8", "counts", "optical"),
        Modality("event", "E", 2, "uint8", "counts", "event"),
        Modality("lidar", "L", 3, "float32", "mixed", "lidar"),
        Modality("radar", "A", 2, "float32", "mixed", "other"),
    ),
    readings=READINGS,
    needed=("rgb", "event", "lidar", "label"),
    path_of=lambda raster, frame: f"{LAYOUT[raster][0]}/{frame}_{LAYOUT[raster][1]}.png",
    nadir=False,
    conditions=("weather", "time", "weather_time"),
)
ADAPTER = RELEASE.adapter(plan_muses)
