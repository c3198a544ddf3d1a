"""The scene store: one uniform form on disk for every dataset, written by `importer`, read by everything else.

A store is a folder. `dataset.json` is written last, so its presence means that the import is whole. `scenes.csv` has
one row per scene, `statistics.json` one entry per raster, `rasters/` the files that are not referenced where the user
keeps them. Nothing here imports torch or rasterio, because commands that only look at tables use this module too.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from usererror import UserError

FORMAT = 1
IGNORE = 255
# where a labelled pixel lies: inside, or in the band along class borders that eroded labels omit
REGIONS = INTERIOR, BAND = "interior", "band"
PARTS = ("train", "val", "test")
SPLIT_VALUES = (*PARTS, "unused")
DATASET_FILE, SCENES_FILE, STATISTICS_FILE = "dataset.json", "scenes.csv", "statistics.json"
JOURNAL_FILE = "import.jsonl"


@dataclass(frozen=True)
class Modality:
    """One raster layer of a dataset.

    `kind` is one of optical, height_absolute, height_normalised, sar (decibels), sar_linear, depth, event, lidar,
    other; `letter` stands for the modality in the names of subsets; `unit` is that of the stored values (counts, m,
    dB, linear).
    """

    name: str
    letter: str
    channels: int
    dtype: str
    unit: str
    kind: str


@dataclass(frozen=True)
class SceneClass:
    """One class: its id in the label files, its name, its colour (R, G, B) and whether it is the clutter class."""

    id: int
    name: str
    color: tuple[int, int, int]
    clutter: bool = False


@dataclass(frozen=True)
class Scene:
    """One co-registered area, `height` x `width` pixels.

    `paths` holds the absolute path of every raster the scene has, labels included; a missing one has no entry.
    """

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


def import_command(name: str, source: str | None = None) -> str:
    """Return the command that imports the dataset `name`, for error texts."""
    return f"make data DATA={name} SOURCE={source or '<folder or zip>'}"


class SceneStore:
    """An imported dataset, opened for reading.

    Attributes: `root` (Path), `name`, `info` (the content of dataset.json), `classes` (ids contiguous from 0),
    `modalities` (name -> Modality, in the dataset's own order), `labels` (label columns), `fingerprint`, `scenes`.
    """

    def __init__(self, root: Path, info: dict[str, Any], scenes: list[Scene]) -> None:
        """Use `SceneStore.open`; this only ties parts together that have been read already."""
        self.root = root
        self.info = info
        self.scenes = scenes
        self.name: str = info["name"]
        self.fingerprint: str = info["fingerprint"]
        self.labels: list[str] = list(info["labels"])
        self.classes = [
            SceneClass(
                c["id"],
                c["name"],
                (c["color"][0], c["color"][1], c["color"][2]),
                bool(c["clutter"]),
            )
            for c in info["classes"]
        ]
        self.modalities = {
            name: Modality(name, **fields) for name, fields in info["modalities"].items()
        }

    @classmethod
    def open(cls, root: Path) -> SceneStore:
        """Open the store in the folder `root`.

        Raises UserError when there is none, when its import has not been finished, or when its files are not of the
        format this version reads; the text names the command that mends it.
        """
        root = Path(root).expanduser().absolute()
        if not (root / DATASET_FILE).is_file():
            raise UserError(_why_not_open(root))
        try:
            info = json.loads((root / DATASET_FILE).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                raise UserError(
                    f"The store {root} has format {info['format']!r}, this version reads format {FORMAT}: "
                    f"import it again with `{import_command(root.name, info.get('source'))} FORCE=1`."
                )
            if lacking := [
                key
                for key in ("adapter", "source", "tiles", "incomplete", "warnings")
                if key not in info
            ]:
                raise KeyError(lacking[0])
            return cls(root, info, _read_scenes(root, info))
        except (
            AttributeError,
            IndexError,
            KeyError,
            OSError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise UserError(
                f"The store {root} is damaged ({type(error).__name__}: {str(error)!r}): import it again with "
                f"`{import_command(root.name)} FORCE=1`."
            ) from error

    @cached_property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """Statistics per scene and raster: {scene: {raster: {count, mean, std, min, max, p05, p95, pixels_sha256}}}.

        All but `count` are lists with one value per channel, over valid pixels (finite; for heights above -100 m).
        Label rasters have {"counts": {"0": n, ..., "255": n}, "pixels_sha256"} instead.
        """
        path = self.root / STATISTICS_FILE
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(
                f"{path} cannot be read ({error}): import again with "
                f"`{import_command(self.name, self.info.get('source'))} FORCE=1`."
            ) from error

    def split(self, column: str) -> dict[str, list[Scene]]:
        """Return {"train": scenes, "val": scenes, "test": scenes} of a split column such as `split_standard`.

        Raises UserError for an unknown column, listing the valid ones.
        """
        if column not in self.info["splits"]:
            raise UserError(
                f"The dataset {self.name} has no split {column!r}; it has: {', '.join(self.info['splits'])}."
            )
        return {part: [s for s in self.scenes if s.splits[column] == part] for part in PARTS}

    def verify(self) -> list[str]:
        """Compare every raster file with its recorded checksum; return the problems found, empty when all is whole."""
        from rich.progress import track

        problems = []
        rows = list(_rows(self.root))
        for row in track(rows, description=f"verifying {self.name}"):
            for raster in self._columns():
                if row[raster] and (
                    problem := _problem(self.root / row[raster], row[f"{raster}_sha256"])
                ):
                    problems.append(f"{row['id']} {raster}: {problem}")
        return problems

    def _columns(self) -> list[str]:
        return [*self.modalities, *self.labels]


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name, flush it to the disk, then give it its name: never half a file."""
    import os

    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def dataset_fingerprint(
    info: dict[str, Any], scenes: Iterable[Scene], pixels: dict[str, dict[str, str]]
) -> str:
    """Return the SHA-256 of what a dataset is: classes, modalities, scene ids, splits, attributes and pixels.

    `pixels` is {scene: {raster: pixel hash}}. Paths, file formats and checksums of files do not enter, so two people
    who imported the same pixels from differently packed downloads get the same value.
    """
    content = {
        "format": FORMAT,
        "classes": info["classes"],
        "modalities": info["modalities"],
        "labels": info["labels"],
        "scenes": [
            {"id": s.id, "splits": s.splits, "attributes": s.attributes, "pixels": pixels[s.id]}
            for s in sorted(scenes, key=lambda s: s.id)
        ],
    }
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _rows(root: Path) -> list[dict[str, str]]:
    with (root / SCENES_FILE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _read_scenes(root: Path, info: dict[str, Any]) -> list[Scene]:
    """Read scenes.csv; `root / path` leaves an absolute path (referenced in place) as it is."""
    rasters = [*info["modalities"], *info["labels"]]
    return [
        Scene(
            id=row["id"],
            height=int(row["height"]),
            width=int(row["width"]),
            splits={column: row[column] for column in info["splits"]},
            attributes={column: row[column] for column in info["attributes"]},
            paths={raster: root / row[raster] for raster in rasters if row[raster]},
        )
        for row in _rows(root)
    ]


def _problem(path: Path, sha256: str) -> str | None:
    if not path.is_file():
        return f"{path} is missing"
    try:
        return (
            None
            if file_sha256(path) == sha256
            else f"{path} has changed since the import (checksum differs)"
        )
    except OSError as error:
        return f"{path} cannot be read ({error})"


def _why_not_open(root: Path) -> str:
    journal = root / JOURNAL_FILE
    if not journal.is_file():
        return f"There is no dataset {root.name!r} in {root.parent}: import it with `{import_command(root.name)}`."
    try:
        with journal.open(encoding="utf-8") as stream:
            source = json.loads(stream.readline()).get("source")
    except (ValueError, AttributeError, OSError):  # not even its first line was finished
        source = None
    resume = import_command(root.name, source)
    return f"The import of {root.name!r} in {root} was not finished: resume it with `{resume}`."
