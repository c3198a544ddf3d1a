"""Steps of a plan that adapters share: the tiles asked for, what is missing, the inventory."""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

from datamodules.ingest.plan import ImportOptions, Missing, RasterJob, ScenePlan
from datamodules.ingest.sources import SourceFile, describe_sizes
from datamodules.splits.tables import format_counts, list_names, read_split_table
from datamodules.store.scene_store import IGNORE, PARTS, SPLIT_VALUES, Modality, SceneClass
from usererror import UserError

MAX_LISTED = 20  # names of one kind that are listed before the rest is counted
Jobs = Mapping[str, Mapping[str, RasterJob]]  # by scene and raster
Files = Mapping[str, Mapping[str, SourceFile]]  # by scene and raster
Splits = Mapping[str, Mapping[str, str]]  # by scene and split column, or attribute


def read_classes(table: str) -> list[SceneClass]:
    """Read the classes of a published dataset with their colours.

    Example:
        >>> read_classes("classes_dfc2023")[1]
        SceneClass(id=1, name='building', color=(255, 255, 255), clutter=False)
    """
    classes = []
    for row in read_split_table(table).values():
        if int(row["id"]) != IGNORE:
            color = int(row["r"]), int(row["g"]), int(row["b"])
            clutter = row.get("clutter") == "1"
            classes.append(SceneClass(int(row["id"]), row["name"], color, clutter))
    return classes


def select_tiles(
    options: ImportOptions, known: Mapping[str, str], normalise: Callable[[str], str], title: str
) -> list[str]:
    """Return the tiles to import, in the order in which they were asked for, by default all.

    `known` is {normalised name: tile}, and `normalise` brings a user's spelling to such a name.
    """
    tiles = list(known.values())
    if options.tiles is None:
        return tiles
    chosen: dict[str, None] = {}  # a set that keeps its order
    for text in options.tiles:
        tile = known.get(normalise(text))
        if tile is None:
            # 38 tiles are a list to choose from, 1773 are not
            most = 5 if len(tiles) > 2 * MAX_LISTED else len(tiles)
            raise UserError(f"{title} has no tile {text!r}; it has: {list_names(tiles, most)}.")
        chosen[tile] = None
    if not chosen:
        raise UserError("No tile is asked for: name some, or leave the choice out for all.")
    return list(chosen)


def split_parts(splits: Splits) -> dict[str, tuple[str, ...]]:
    """Return {split column: its parts among train, val, test} of a list of all scenes."""
    parts = {}
    for column in next(iter(splits.values())):
        values = {row[column] for row in splits.values()}
        parts[column] = tuple(part for part in PARTS if part in values)
    return parts


def missing_rasters(
    jobs: Mapping[str, Container[str]], required: Iterable[str], expected: Callable[[str, str], str]
) -> list[Missing]:
    """Return what the scenes lack; `expected(raster, scene)` names the file it would be in."""
    missing = []
    for scene, rasters in jobs.items():
        for raster in required:
            if raster not in rasters:
                missing.append(Missing(scene, raster, expected(raster, scene)))
    return missing


def first_present(rasters: Iterable[str], order: Iterable[str]) -> str:
    """Return the first of `order` that a scene has, which says its size; "" if it has none."""
    return next((raster for raster in order if raster in rasters), "")


def plan_scenes(
    jobs: Jobs, splits: Splits, order: Sequence[str], label: str, attributes: Splits
) -> list[ScenePlan]:
    """Return the scenes that have the `label` and one of the modalities in `order`."""
    scenes = []
    for scene, rasters in jobs.items():
        reference = first_present(rasters, order)
        if label in rasters and reference:
            told = dict(attributes.get(scene, {}))
            scenes.append(ScenePlan(scene, dict(splits[scene]), dict(rasters), reference, told))
    return scenes


def used_modalities(modalities: Iterable[Modality], scenes: Sequence[ScenePlan]) -> list[Modality]:
    """Return the modalities that some scene has."""
    used = set().union(*(scene.jobs for scene in scenes))
    return [modality for modality in modalities if modality.name in used]


def source_files(jobs: Jobs) -> dict[str, dict[str, SourceFile]]:
    """Return the file that each raster of each scene is read from."""
    files: dict[str, dict[str, SourceFile]] = {}
    for scene, rasters in jobs.items():
        files[scene] = {raster: job.source for raster, job in rasters.items()}
    return files


def describe_source(
    what: str, noun: str, files: Files, required: Sequence[str], sized: str
) -> list[str]:
    """Return the lines printed before an import: what was found and what lacks (dossier, rule 8).

    `what` is title and place of the source, `noun` what a scene is called there, `required` what
    every scene should have, `sized` the raster whose sizes in pixels are told.
    """
    # required rasters first, found or not
    of_raster: dict[str, dict[str, SourceFile]] = {raster: {} for raster in required}
    gaps = []
    for scene, rasters in files.items():
        # by origin: one file may be read for many scenes
        for raster, file in rasters.items():
            of_raster.setdefault(raster, {})[file.origin] = file
        if lacking := [raster for raster in required if raster not in rasters]:
            gaps.append(f"  {scene} lacks {', '.join(lacking)}")
    whole = len(files) - len(gaps)
    lines = [f"{what}: {whole} of {len(files)} {noun} have {', '.join(required)}"]
    for raster, found in of_raster.items():
        size = sum(file.size for file in found.values()) / 1e6
        lines.append(f"  {raster}: {len(found)} files, {size:.1f} MB")
    lines.append("  sizes: " + describe_sizes(list(of_raster.get(sized, {}).values())))
    lines += gaps[:MAX_LISTED]
    if len(gaps) > MAX_LISTED:
        lines.append(f"  {len(gaps) - MAX_LISTED} more {noun} lack something")
    return lines


def describe_splits(
    columns: Iterable[str], jobs: Jobs, required: Collection[str], splits: Splits
) -> list[str]:
    """Return a line per split column: complete scenes in each part here, and all of the dataset."""
    complete = [scene for scene, rasters in jobs.items() if rasters.keys() >= set(required)]
    lines = []
    for column in columns:
        here = Counter(splits[scene][column] for scene in complete)
        whole = Counter(row[column] for row in splits.values())
        shown, expected = (format_counts({v: n[v] for v in SPLIT_VALUES}) for n in (here, whole))
        lines.append(f"  {column}: {shown} (whole dataset: {expected})")
    return lines
