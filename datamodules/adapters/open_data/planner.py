"""The plan that all releases of tiles in folders share.

A file's path says which tile it belongs to and what it shows (`find_tiles`); an adapter adds splits
and what is odd about its release, and `plan_tiles` does the rest: choice of tiles, gaps, inventory.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from datamodules.adapters import planning
from datamodules.adapters.dataset_card import read_dataset_card
from datamodules.adapters.open_data.release import Release
from datamodules.ingest.archives.names import without_ending
from datamodules.ingest.plan import ImportOptions, ImportPlan, Missing
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import format_counts, list_names
from datamodules.store.scene_store import PARTS
from usererror import UserError

MAX_NAMED = 5  # tiles in one line
# tile and kind of a file; or why it is ignored, "" for what is none of the dataset's
Place = tuple[str, str] | str


@dataclass(frozen=True)
class Tiles:
    """The files of a source: by tile, and how many are ignored, by the reason why."""

    files: dict[str, dict[str, SourceFile]]
    ignored: Counter[str]


def folders_of(file: SourceFile) -> list[str]:
    """Return the folders above a file in small letters, outermost first, "" for the source itself.

    An archive counts as the folder it holds.

    Example:
        >>> from pathlib import Path
        >>> folders_of(SourceFile(Path("A.zip"), "A.zip/train/s2/s2_1.tif", "", 0, ""))
        ['', 'a', 'train', 's2']
    """
    folders = PurePosixPath(file.rel).parts[:-1]
    return ["", *(without_ending(folder).lower() for folder in folders)]


def find_tiles(
    release: Release,
    index: SourceIndex,
    pattern: re.Pattern[str],
    place: Callable[[SourceFile, re.Match[str]], Place],
) -> Tiles:
    """Sort the files whose names match by tile and kind; raises UserError where there are none."""
    candidates: dict[str, list[tuple[str, SourceFile]]] = {}
    ignored: Counter[str] = Counter()
    for file, match in index.match_names(pattern):
        placed = place(file, match)
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
            here = name_some(every)
            raise UserError(f"{release.title} has no tile {text!r} here; there are: {here}.")
        chosen |= below
    return [tile for tile in every if tile in chosen]


def plan_tiles(
    release: Release,
    index: SourceIndex,
    options: ImportOptions,
    tiles: Tiles,
    splits: planning.Splits,
    attributes: planning.Splits | None = None,
    missing: Sequence[Missing] = (),
    warnings: Sequence[str] = (),
) -> ImportPlan:
    """Plan an import of all rasters that the files of a tile give.

    `splits` holds a row per tile; `missing` is what lacks besides rasters of tiles that are here,
    and counts where all tiles are asked for.
    """
    chosen = choose_tiles(release, tiles.files, options)
    jobs = {tile: release.jobs(tiles.files[tile]) for tile in chosen}
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


def name_some(names: Sequence[str]) -> str:
    """Return the first names as text, and how many more there are."""
    return list_names(names, MAX_NAMED)


def lacking_units(known: Iterable[str], found: Iterable[str], what: str) -> list[Missing]:
    """Return an entry per unit of a release (city, event, folder) of which no tile is there."""
    here = set(found)
    return [Missing(unit, "tiles", f"{what} {unit}") for unit in known if unit not in here]
