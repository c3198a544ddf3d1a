"""The scene store: one uniform form on disk for every dataset.

A store is a folder. `dataset.json` is written last, so its presence means that the import is whole.
`scenes.csv` has one row per scene, `statistics.json` one entry per raster, `rasters/` the files
that are not referenced where the user keeps them. Nothing here imports torch, rasterio or numpy,
because commands that only look at tables use this module too.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.store.part_files import whole_file
from usererror import UserError

FORMAT = 1
IGNORE = 255
# where a labelled pixel lies: inside, or in the band along class borders that eroded labels omit
REGIONS = INTERIOR, BAND = "interior", "band"
PARTS = ("train", "val", "test")
SPLIT_VALUES = (*PARTS, "unused")
DATASET_FILE, SCENES_FILE, STATISTICS_FILE = "dataset.json", "scenes.csv", "statistics.json"
JOURNAL_FILE = "import.jsonl"
# what reading a file raises that is no longer as the import wrote it
DAMAGE = (AttributeError, IndexError, KeyError, OSError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class Modality:
    """One raster layer of a dataset; `letter` stands for it in the names of subsets.

    `unit` is that of the stored values (counts, m, dB, linear), `kind` one of optical,
    height_absolute, height_normalised, sar (decibels), sar_linear, depth, event, lidar, other.
    `clip_db` are the lowest and the highest decibels of each channel of a sar_linear, None the
    default.
    """

    name: str
    letter: str
    channels: int
    dtype: str
    unit: str
    kind: str
    clip_db: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        if self.clip_db is None:
            return
        # lists in JSON, and whole numbers of some
        clip = tuple((float(low), float(high)) for low, high in self.clip_db)
        object.__setattr__(self, "clip_db", clip)
        rising = all(low < high for low, high in clip)
        if self.kind != "sar_linear" or len(clip) != self.channels or not rising:
            takes = f"a range per channel of a sar_linear, not {self.kind} x {self.channels}"
            raise ValueError(f"clip_db of {self.name} is {clip}: {takes}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a clip that is not set stays out of what is written and hashed."""
        content = asdict(self)
        if self.clip_db is None:
            del content["clip_db"]
        return content


@dataclass(frozen=True)
class SceneClass:
    """One class: its id in the label files, name, colour (R, G, B), and whether it is clutter."""

    id: int
    name: str
    color: tuple[int, int, int]
    clutter: bool = False


@dataclass(frozen=True)
class Scene:
    """One co-registered area; `paths`, absolute, are of the rasters it has, labels included."""

    id: str
    height: int
    width: int
    splits: dict[str, str]
    attributes: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_stamp(path: Path) -> str:
    """Return text that changes when a file is written anew, "" for one that is not there."""
    try:
        status = path.stat()
    except OSError:
        return ""
    # a copying program may set back the time of modification, but not that of the change
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def import_command(name: str, info: Mapping[str, Any] | None = None) -> str:
    """Return the command that imports the dataset `name`, for error texts.

    `info` is what dataset.json or the journal says of the import before, as far as it is known.

    Example:
        >>> import_command("potsdam")
        'make data DATA=potsdam SOURCE=<folder or archive>'
        >>> import_command("town", {"source": "/here", "adapter": "LAYOUT=mmseg"})
        'make data DATA=town SOURCE=/here LAYOUT=mmseg'
    """
    info = info or {}
    command = f"make data DATA={name} SOURCE={info.get('source') or '<folder or archive>'}"
    adapter = str(info.get("adapter"))
    return f"{command} {adapter}" if adapter.startswith("LAYOUT=") else command


class SceneStore:
    """An imported dataset, opened for reading.

    `info` is the content of dataset.json; `classes` have contiguous ids from 0; `modalities` are by
    name in the dataset's own order; for the `fingerprint` see `dataset_fingerprint`.
    """

    def __init__(self, root: Path, info: dict[str, Any], scenes: list[Scene]) -> None:
        """Use `SceneStore.open`; this only ties parts together that have been read already."""
        self.root, self.info, self.scenes = root, info, scenes
        self.name: str = info["name"]
        self.fingerprint: str = info["fingerprint"]
        self.labels: list[str] = list(info["labels"])
        self.classes = []
        for entry in info["classes"]:
            red, green, blue = entry["color"]
            color, clutter = (red, green, blue), bool(entry["clutter"])
            self.classes.append(SceneClass(entry["id"], entry["name"], color, clutter))
        self.modalities = {name: Modality(name, **has) for name, has in info["modalities"].items()}

    @classmethod
    def open(cls, root: Path) -> SceneStore:
        """Open the store in the folder `root`; an error names the command that mends it."""
        root = Path(root).expanduser().absolute()
        if not (root / DATASET_FILE).is_file():
            raise UserError(_why_not_open(root))
        try:
            info = json.loads((root / DATASET_FILE).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                again = import_command(root.name, info)
                found = f"has format {info['format']!r}, this version reads format {FORMAT}"
                raise UserError(f"The store {root} {found}: import it with `{again} FORCE=1`.")
            for key in ("adapter", "source", "tiles", "incomplete", "warnings"):
                info[key]  # read much later: missed now
            return cls(root, info, _read_scenes(root, info))
        except DAMAGE as error:
            what, again = f"{type(error).__name__}: {str(error)!r}", import_command(root.name)
            text = f"The store {root} is damaged ({what}): import it with `{again} FORCE=1`."
            raise UserError(text) from error

    @cached_property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """Statistics per scene and raster.

        {scene: {raster: {count, mean, std, min, max, p05, p95, pixels_sha256}}}; all but `count`
        are lists with one value per channel, over valid pixels (finite; for heights above -100 m).
        Label rasters have {"counts": {"0": n, ..., "255": n}, "pixels_sha256"} instead.
        """
        path = self.root / STATISTICS_FILE
        try:
            found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            for scene in self.scenes:
                for raster in scene.paths:
                    found[scene.id][raster]["pixels_sha256"]  # read much later: missed now
            return found
        except DAMAGE as error:
            again = import_command(self.name, self.info)
            text = f"{path} cannot be read ({error!r}): import again with `{again} FORCE=1`."
            raise UserError(text) from error

    def split(self, column: str) -> dict[str, list[Scene]]:
        """Return the train, val and test scenes of a split column such as `split_standard`."""
        if column not in self.info["splits"]:
            have = ", ".join(self.info["splits"])
            raise UserError(f"The dataset {self.name} has no split {column!r}; it has: {have}.")
        parts: dict[str, list[Scene]] = {part: [] for part in PARTS}
        for scene in self.scenes:
            if (part := scene.splits[column]) in parts:
                parts[part].append(scene)
        return parts

    def list_rasters(self) -> list[tuple[str, str, str]]:
        """List scene and column, path as in scenes.csv, and checksum of every raster."""
        found = []
        for row in read_rows(self.root):
            for raster in (*self.modalities, *self.labels):
                if row[raster]:
                    sha256 = row.get(f"{raster}_sha256", "")
                    found.append((f"{row['id']} {raster}", row[raster], sha256))
        return found

    def changed_tables(self) -> list[str]:
        """Return the tables of the store that were edited: they would change what is trained."""
        problems = []
        # stores of older versions do not tell
        tables = dict(self.info.get("tables", {}))
        if tables.pop(DATASET_FILE, None) not in (None, info_sha256(self.info)):
            problems.append(f"{self.root / DATASET_FILE} has changed since the import")
        for name, sha256 in tables.items():
            if problem := file_problem(self.root / name, sha256):
                problems.append(problem)
        return problems

    def verify(self) -> list[str]:
        """Compare every file with its recorded checksum; return the problems found."""
        from rich.markup import escape
        from rich.progress import track

        problems = self.changed_tables()
        rasters, told = self.list_rasters(), escape(f"verifying {self.name}")
        for raster, place, sha256 in track(rasters, description=told):
            if problem := file_problem(self.root / place, sha256):
                problems.append(f"{raster}: {problem}")
        return problems


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file so that there is never half of it, whatever happens."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def dataset_fingerprint(
    info: dict[str, Any], scenes: Iterable[Scene], pixels: dict[str, dict[str, str]]
) -> str:
    """Return the SHA-256 of classes, modalities, scene ids, splits, attributes and pixels.

    Paths, file formats and checksums of files do not enter, so two people who imported the same
    pixels from differently packed downloads agree. `pixels` is {scene: {raster: pixel hash}}.
    """
    # in the order of ids: two imports may have listed the scenes differently
    listed = []
    for scene in sorted(scenes, key=lambda scene: scene.id):
        told = {"id": scene.id, "splits": scene.splits, "attributes": scene.attributes}
        listed.append(told | {"pixels": pixels[scene.id]})
    content = {key: info[key] for key in ("classes", "modalities", "labels")}
    content |= {"format": FORMAT, "scenes": listed}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def info_sha256(info: dict[str, Any]) -> str:
    """Return the SHA-256 of what dataset.json says, but for the checksums that it holds."""
    content = {key: info[key] for key in info if key != "tables"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_rows(root: Path) -> list[dict[str, str]]:
    """Return the rows of the store's own scenes.csv."""
    with (root / SCENES_FILE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _read_scenes(root: Path, info: dict[str, Any]) -> list[Scene]:
    rasters = [*info["modalities"], *info["labels"]]
    scenes = []
    for row in read_rows(root):
        splits = {column: row[column] for column in info["splits"]}
        attributes = {column: row[column] for column in info["attributes"]}
        # `root / path` leaves an absolute path (referenced in place) as it is
        paths = {raster: root / row[raster] for raster in rasters if row[raster]}
        size = int(row["height"]), int(row["width"])
        scenes.append(Scene(row["id"], *size, splits, attributes, paths))
    return scenes


def file_problem(path: Path, sha256: str) -> str | None:
    """Return what is wrong with a file whose content had this checksum at import."""
    if not path.is_file():
        return f"{path} is missing"
    try:
        if file_sha256(path) != sha256:
            return f"{path} has changed since the import (checksum differs)"
    except OSError as error:
        return f"{path} cannot be read ({error})"
    return None


def _why_not_open(root: Path) -> str:
    journal = root / JOURNAL_FILE
    if not journal.is_file():
        nothing = f"There is no dataset {root.name!r} in {root.parent}"
        return f"{nothing}: import it with `{import_command(root.name)}`."
    try:
        with journal.open(encoding="utf-8") as stream:
            begun = dict(json.loads(stream.readline()))
    except DAMAGE:  # not even its first line was finished
        begun = {}
    resume = import_command(root.name, begun)
    return f"The import of {root.name!r} in {root} was not finished: resume it with `{resume}`."
