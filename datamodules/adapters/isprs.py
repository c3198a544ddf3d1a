"""The two ISPRS cities: what they share, and one plan for both (dataset dossier, sections 1 and 2).

A city says where its files are and what each raster is read from (`IsprsCity`); `plan_isprs` does
the rest: tiles, gaps, splits, inventory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from datamodules.adapters import planning
from datamodules.adapters.dataset_card import read_dataset_card
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan, RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import read_split_table, split_columns
from datamodules.store.scene_store import IGNORE, Modality, SceneClass
from usererror import UserError

THRESHOLD = 127
DOUBT = 40  # a channel this near to the threshold is in neither corner of the colour cube
# thresholded colour, 4 R + 2 G + B -> class; black (0) is the boundary of eroded labels
CODES = np.array([IGNORE, 1, 3, 2, 5, IGNORE, 4, 0], np.uint8)
MAGENTA = 5  # the one corner of the colour cube that means nothing
LABELS = ("label", "label_eroded")
Files = dict[tuple[str, str], SourceFile]  # by tile and raster, or kind of file


@dataclass(frozen=True)
class IsprsCity:
    """What is particular to a city.

    Args:
        name: of the city in lower case; `splits/<name>.csv` lists its tiles.
        gsd_m: pixel side of the real data.
        always: those that every tile should have.
        reference_order: the raster that says the size of a scene comes first.
        expected: {raster: file it needs}, with the parts of a tile's name to fill in.
        patterns: names of the files; `tile_of` returns the tile of a match.
        normalise: brings a user's spelling of a tile to its name.
        find: files of some tiles.
        jobs: a job for every raster that the files of a tile can give.
        pixel_side: what the source says of it in metres, None where it does not.
    """

    name: str
    obtain: str
    licence: str
    citation: str
    gsd_m: float
    modalities: tuple[Modality, ...]
    always: tuple[str, ...]
    reference_order: tuple[str, ...]
    expected: Mapping[str, str]
    patterns: tuple[re.Pattern[str], ...]
    tile_of: Callable[[re.Match[str]], str]
    normalise: Callable[[str], str]
    find: Callable[[SourceIndex, set[str]], Files]
    jobs: Callable[[str, Files], dict[str, RasterJob]]
    pixel_side: Callable[[SourceIndex], float | None] = lambda index: None

    @property
    def title(self) -> str:
        """Name of the city for people."""
        return self.name.capitalize()

    def adapter(self) -> Adapter:
        """Return the adapter that imports the city."""
        title, plan = f"ISPRS {self.title}", partial(plan_isprs, self)
        return Adapter(self.name, title, self.obtain, plan, self.modalities, isprs_classes)


def plan_isprs(city: IsprsCity, index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a city; raises UserError for a source without its files."""
    table = read_split_table(city.name)
    splits = {tile: split_columns(row) for tile, row in table.items()}
    card = read_dataset_card(index)
    tiles = planning.select_tiles(
        options, {tile: tile for tile in splits}, city.normalise, city.title
    )
    if not any(index.match_names(pattern) for pattern in city.patterns):
        example = city.expected[city.always[0]].format(*tiles[0].split("_"))
        raise UserError(
            f"No file of {city.title} among the {len(index.files)} below {index.root} (names like "
            f"{example} are looked for). {city.obtain}"
        )
    files = city.find(index, set(tiles))
    jobs = {tile: city.jobs(tile, files) for tile in tiles}
    have = Counter(raster for rasters in jobs.values() for raster in rasters)
    # heights and labels come in two kinds each, of which one will do
    height = "ndsm" if have["ndsm"] > have["dsm"] else "dsm"
    label = "label_eroded" if have["label_eroded"] > have["label"] else "label"
    needed = {*city.always, height, label}
    # whatever some tiles have, all should have: a gap is said, not skipped
    required = [raster for raster in city.expected if have[raster] or raster in needed]
    scenes = planning.plan_scenes(jobs, splits, city.reference_order, label)
    used = {raster for scene in scenes for raster in scene.jobs}
    title = f"ISPRS {city.title}"
    what, sized = f"{title} in {index.root}", city.reference_order[0]
    inventory = planning.describe_source(
        what, "tiles", planning.source_files(jobs), required, sized
    )
    columns = ("split_standard", "split_official")
    inventory += planning.describe_splits(columns, planning.complete_scenes(jobs, required), splits)
    return ImportPlan(
        **card.or_else(title, city.licence, city.citation),
        classes=isprs_classes(),
        modalities=planning.used_modalities(city.modalities, scenes),
        labels=[name for name in dict.fromkeys((label, *LABELS)) if name in used],
        splits=planning.split_parts(splits),
        scenes=scenes,
        gsd_m=card.gsd_m or city.pixel_side(index),
        gsd_default=city.gsd_m,
        missing=planning.missing_rasters(
            jobs, required, lambda raster, tile: city.expected[raster].format(*tile.split("_"))
        ),
        warnings=planning.unknown_files(index, city.patterns, city.tile_of, splits),
        inventory=inventory,
    )


def isprs_classes() -> list[SceneClass]:
    """Return the six classes in the order of the benchmark, with their colours; clutter is last."""
    return planning.read_classes("classes_isprs.csv")


def label_jobs(tile: str, files: Files) -> dict[str, RasterJob]:
    """Return the jobs of the labels that a tile has."""
    jobs = {}
    for name in LABELS:
        if file := files.get((tile, name)):
            # a fourth band is alpha
            jobs[name] = RasterJob.label(file, decode_label_colours, (1, 2, 3), (3, 4))
    return jobs


def decode_label_colours(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode a label picture by threshold, which also repairs blended colours (dossier 2, 12.1).

    Returns class ids (h, w) uint8, black and unknown 255, and where the colour is unknown (h, w)
    bool: magenta, or a channel within 40 of 127.

    Example:
        >>> blue_and_grey = np.array([[[0, 120]], [[10, 120]], [[250, 120]]], np.uint8)
        >>> ids, unknown = decode_label_colours(blue_and_grey)
        >>> ids.tolist(), unknown.tolist()
        ([[1, 255]], [[False, True]])
    """
    high = rgb > THRESHOLD
    code = (high[0].view(np.uint8) << 2) | (high[1].view(np.uint8) << 1) | high[2].view(np.uint8)
    low, top = THRESHOLD - DOUBT, THRESHOLD + DOUBT
    unknown = ((rgb >= low) & (rgb <= top)).any(axis=0) | (code == MAGENTA)
    ids = CODES[code]
    ids[unknown] = IGNORE
    return ids, unknown
