"""The two ISPRS cities: what they share, and one plan for both (dataset dossier, sections 1 and 2).

A city says where its files are and what each raster is read from (`IsprsCity`); `plan_isprs` does
the rest: tiles, gaps, splits, inventory.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

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
    """What is particular to a city."""

    name: str  # in lower case; `splits/<name>.csv` lists its tiles
    obtain: str
    licence: str
    citation: str
    gsd_m: float  # pixel side of the real data
    modalities: tuple[Modality, ...]
    always: tuple[str, ...]  # those that every tile should have
    reference_order: tuple[str, ...]  # the first that is there says the size of a scene
    expected: Mapping[str, str]  # {raster: file it needs}, the parts of a tile's name to fill in
    patterns: tuple[re.Pattern[str], ...]  # names of the files
    tile_of: Callable[[re.Match[str]], str]  # of such a name
    normalise: Callable[[str], str]  # brings a user's spelling of a tile to its name
    find: Callable[[SourceIndex, set[str]], Files]  # files of some tiles
    jobs: Callable[[str, Files], dict[str, RasterJob]]  # all that the files of a tile can give
    # what the source says of it in metres, None where it does not
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
    splits = split_columns(read_split_table(city.name))
    card = read_dataset_card(index)
    known = dict(zip(splits, splits, strict=True))
    tiles = planning.select_tiles(options, known, city.normalise, city.title)
    if not any(map(index.match_names, city.patterns)):
        example = city.expected[city.always[0]].format(*tiles[0].split("_"))
        nothing = f"No file of {city.title} among the {len(index.files)} below {index.root}"
        raise UserError(f"{nothing} (names like {example} are looked for). {city.obtain}")
    files = city.find(index, set(tiles))
    jobs = {tile: city.jobs(tile, files) for tile in tiles}
    have = Counter(chain.from_iterable(jobs.values()))
    # heights and labels come in two kinds each, of which one will do
    height = "ndsm" if have["ndsm"] > have["dsm"] else "dsm"
    label = "label_eroded" if have["label_eroded"] > have["label"] else "label"
    needed = {*city.always, height, label}
    # whatever some tiles have, all should have: a gap is said, not skipped
    required = [raster for raster in city.expected if have[raster] or raster in needed]
    scenes = planning.plan_scenes(jobs, splits, city.reference_order, label, {})
    used = {raster for scene in scenes for raster in scene.jobs}
    title, sized = f"ISPRS {city.title}", city.reference_order[0]
    what, sources = f"{title} in {index.root}", planning.source_files(jobs)
    inventory = planning.describe_source(what, "tiles", sources, required, sized)
    columns = ("split_standard", "split_official")
    inventory += planning.describe_splits(columns, jobs, required, splits)
    warnings = []
    for file, match in chain.from_iterable(map(index.match_names, city.patterns)):
        if city.tile_of(match) not in splits:
            warnings.append(f"{file.rel} is of no tile of the benchmark: ignored")

    def expected(raster: str, tile: str) -> str:
        return city.expected[raster].format(*tile.split("_"))

    return ImportPlan(
        **card.or_else(title, city.licence, city.citation),
        classes=isprs_classes(),
        modalities=planning.used_modalities(city.modalities, scenes),
        labels=[name for name in dict.fromkeys((label, *LABELS)) if name in used],
        splits=planning.split_parts(splits),
        scenes=scenes,
        gsd_m=card.gsd_m or city.pixel_side(index),
        gsd_default=city.gsd_m,
        missing=planning.missing_rasters(jobs, required, expected),
        warnings=warnings,
        inventory=inventory,
    )


def isprs_classes() -> list[SceneClass]:
    """Return the six classes in the order of the benchmark, with their colours; clutter is last."""
    return planning.read_classes("classes_isprs")


def label_jobs(tile: str, files: Files) -> dict[str, RasterJob]:
    """Return the jobs of the labels that a tile has."""
    jobs = {}
    for name in LABELS:
        if file := files.get((tile, name)):
            # a fourth band is alpha
            jobs[name] = RasterJob.label(file, decode_label_colours, (1, 2, 3), file_bands=(3, 4))
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
