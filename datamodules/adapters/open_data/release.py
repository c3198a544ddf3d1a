"""Releases of tiles in folders: what an adapter says of one, and the plan that all of them share.

A file's path says which tile it belongs to and what it shows (`find_tiles`); an adapter adds splits
and what is odd about its release, and `plan_tiles` does the rest: choice of tiles, gaps, inventory.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from datamodules.adapters import planning
from datamodules.adapters.dataset_card import read_dataset_card
from datamodules.ingest.archives.names import without_ending
from datamodules.ingest.plan import (
    Adapter,
    ImportOptions,
    ImportPlan,
    Missing,
    Published,
    RasterJob,
)
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import format_counts, list_names, read_split_table
from datamodules.store.scene_store import IGNORE, PARTS, Modality, SceneClass
from usererror import UserError

MAX_NAMED = 5  # tiles in one line
# tile and kind of a file; or why it is ignored, "" for what is none of the dataset's
Place = tuple[str, str] | str
Files = Mapping[str, SourceFile]  # of one tile, by kind of file


@dataclass(frozen=True)
class Release:
    """What is particular to a release of tiles."""

    name: str
    title: str
    obtain: str
    licence: str
    citation: str
    gsd_m: float | None  # pixel side, where the files do not tell
    like: str  # a path of the release, for people who look for it
    modalities: tuple[Modality, ...]  # the first that a tile has says its size
    needed: tuple[str, ...]  # rasters that no tile may lack
    path_of: Callable[[str, str], str]  # where the release has a raster of a tile
    gaps: tuple[str, ...] = ()  # rasters that the release itself has for some tiles only
    # {split column: {part: tiles}} of the whole release
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    split_notes: Mapping[str, str] = field(default_factory=dict)
    nadir: bool = True
    conditions: tuple[str, ...] = ()  # attributes that are reported separately
    published: Published = field(default_factory=dict)

    def adapter(self, plan: Callable[[SourceIndex, ImportOptions], ImportPlan]) -> Adapter:
        """Return the adapter that imports the release."""
        return Adapter(self.name, self.title, self.obtain, plan, self.modalities, self.classes)

    def label_job(self, file: SourceFile, **more: Any) -> RasterJob:
        """Return how a label with one band of raw values is read, by the table of the classes."""
        decode = partial(decode_raw_values, table=f"classes_{self.name}")
        return RasterJob.label(file, decode, **{"file_bands": (1,), **more})

    def classes(self) -> list[SceneClass]:
        """Return the classes with their colours."""
        return planning.read_classes(f"classes_{self.name}")


@dataclass(frozen=True)
class Tiles:
    """The files of a source: by tile, and how many are ignored, by the reason why."""

    files: dict[str, dict[str, SourceFile]]
    ignored: Counter[str]


def folders_of(file: SourceFile) -> list[str]:
    """Return the folders above a file, outermost first; an archive counts as the folder it holds.

    Example:
        >>> from pathlib import Path
        >>> folders_of(SourceFile(Path("a.zip"), "a.zip/train/s2/s2_1.tif", "", 0, ""))
        ['a', 'train', 's2']
    """
    folders = PurePosixPath(file.rel).parts[:-1]
    return [without_ending(folder) for folder in folders]


def find_tiles(release: Release, index: SourceIndex, place: Callable[[SourceFile], Place]) -> Tiles:
    """Sort the files of a source by tile and kind; raises UserError where none is the release's."""
    candidates: dict[str, list[tuple[str, SourceFile]]] = {}
    ignored: Counter[str] = Counter()
    for file in index.files:
        placed = place(file)
        if isinstance(placed, str):
            ignored[placed] += 1
        else:
            candidates.setdefault(placed[1], []).append((placed[0], file))
    if not candidates:
        nothing = f"No file of {release.title} among the {len(index.files)} below {index.root}"
        raise UserError(f"{nothing} (paths like {release.like} are looked for). {release.obtain}")
    del ignored[""]
    found: dict[str, dict[str, SourceFile]] = {}
    # one kind at a time: "the folder that holds most" is asked of each by itself
    for kind, pairs in candidates.items():
        for tile, file in index.choose_copies(pairs).items():
            found.setdefault(tile, {})[kind] = file
    return Tiles({tile: found[tile] for tile in sorted(found)}, ignored)


def choose_tiles(release: Release, tiles: Iterable[str], options: ImportOptions) -> list[str]:
    """Return the tiles asked for by id or by whole leading folders of ids, by default all."""
    every = list(tiles)
    if options.tiles is None:
        return every
    if not options.tiles:
        raise UserError("No tile is asked for: name some, or leave the choice out for all.")
    chosen: set[str] = set()
    for text in options.tiles:
        asked = text.replace("\\", "/").strip("/")
        below = {tile for tile in every if tile == asked or tile.startswith(f"{asked}/")}
        if not below:
            here = list_names(every, MAX_NAMED)
            raise UserError(f"{release.title} has no tile {text!r} here; there are: {here}.")
        chosen |= below
    return [tile for tile in every if tile in chosen]


def plan_tiles(
    release: Release,
    index: SourceIndex,
    options: ImportOptions,
    tiles: Tiles,
    jobs_of: Callable[[str, Files], dict[str, RasterJob]],
    splits: planning.Splits,
    attributes: planning.Splits | None = None,
    missing: Sequence[Missing] = (),
    warnings: Sequence[str] = (),
) -> ImportPlan:
    """Plan an import; `jobs_of(tile, files)` gives all rasters that the files of a tile can.

    `splits` holds a row per tile; `missing` is what lacks besides rasters of tiles that are here,
    and counts where all tiles are asked for.
    """
    chosen = choose_tiles(release, tiles.files, options)
    jobs = {tile: jobs_of(tile, tiles.files[tile]) for tile in chosen}
    order = [modality.name for modality in release.modalities]
    have = Counter(raster for rasters in jobs.values() for raster in rasters)
    # whatever some tiles have, all should have, but for what the release has gaps in
    required = [r for r in (*order, "label") if r in release.needed or have[r]]
    required = [raster for raster in required if raster not in release.gaps]
    scenes = planning.plan_scenes(jobs, splits, order, "label", attributes or {})
    lacking = planning.missing_rasters(jobs, required, release.path_of)
    what, sources = f"{release.title} in {index.root}", planning.source_files(jobs)
    inventory = planning.describe_source(what, "tiles", sources, required, order[0])
    columns = list(next(iter(splits.values())))
    for raster in release.gaps:
        parts = Counter(splits[tile][columns[0]] for tile in chosen if raster in jobs[tile])
        spread = f"{columns[0]}: {format_counts(parts)}"
        inventory.append(f"  {raster}: {have[raster]} of {len(jobs)} tiles have it ({spread})")
    if tiles.ignored:
        inventory.append(f"  ignored: {format_counts(tiles.ignored)}")
    for column in columns:
        here = Counter(splits[tile][column] for tile in chosen)
        shown = format_counts({value: here[value] for value in (*PARTS, "unused")})
        whole = release.counts.get(column)
        of = f" (whole release: {format_counts(whole)})" if whole else ""
        inventory.append(f"  {column}: {shown}{of}")
    return ImportPlan(
        **read_dataset_card(index).or_else(release.title, release.licence, release.citation),
        classes=release.classes(),
        modalities=planning.used_modalities(release.modalities, scenes),
        labels=["label"],
        splits=planning.split_parts(splits),
        scenes=scenes,
        gsd_default=release.gsd_m,
        nadir=release.nadir,
        conditions=list(release.conditions),
        attributes=list(next(iter((attributes or {}).values()), {})),
        missing=lacking + (list(missing) if options.tiles is None else []),
        warnings=list(warnings),
        inventory=inventory,
        split_notes=dict(release.split_notes),
        published=release.published,
    )


def lacking_units(known: Iterable[str], found: Iterable[str], what: str) -> list[Missing]:
    """Return an entry per unit of a release (city, event, folder) of which no tile is there."""
    here = set(found)
    return [Missing(unit, "tiles", f"{what} {unit}") for unit in known if unit not in here]


@cache
def _ids_by_raw_value(table: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ids of the raw values 0..255 of a class table, and which of them are no class."""
    ids, unknown = np.full(256, IGNORE, np.uint8), np.ones(256, bool)
    for row in read_split_table(table).values():
        for raw in row.get("raw_value", row["id"]).split():
            ids[int(raw)], unknown[int(raw)] = int(row["id"]), False
    unknown[IGNORE] = False
    return ids, unknown


def decode_raw_values(bands: np.ndarray, table: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ids (h, w) uint8 and where a value is no class, from raw values (1, h, w) of any type.

    `table` names a packaged list of classes with the column `raw_value`, several parted by blanks,
    or without it, where raw values are ids; 255 is always ignored.

    Example:
        >>> ids, unknown = decode_raw_values(np.array([[[1, 8, 0, 9]]]), "classes_earthmiss")
        >>> ids.tolist(), unknown.tolist()
        ([[0, 7, 255, 255]], [[False, False, False, True]])
    """
    ids, unknown = _ids_by_raw_value(table)
    values = bands[0]
    whole = (values >= 0) & (values <= IGNORE)
    raw = np.where(whole, values, 0).astype(np.uint8)
    # a fraction is no class, whatever it is rounded to
    strange = ~whole | (raw != values)
    return np.where(strange, IGNORE, ids[raw]).astype(np.uint8), strange | unknown[raw]
