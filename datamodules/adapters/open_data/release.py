"""What an adapter says of a release of tiles, and what the release says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from datamodules.adapters import planning
from datamodules.ingest.plan import (
    Adapter,
    Bands,
    ImportOptions,
    ImportPlan,
    Published,
    RasterJob,
)
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import read_release, read_split_table
from datamodules.store.scene_store import IGNORE, Modality, SceneClass

Files = Mapping[str, SourceFile]  # of one tile, by kind of file
BYTES, FLOAT = ("uint8",), ("float32",)


class Reading:
    """How a file of a tile becomes a raster of the store; `more` are arguments of `RasterJob`.

    `file` is the kind of file, `valid_where` the kind of the file where a label must have values.
    Type and kind in the store are those of the modality.
    """

    def __init__(
        self,
        file: str,
        bands: Bands,
        file_bands: Bands = (),
        file_dtypes: tuple[str, ...] = (),
        valid_where: str = "",
        **more: Any,
    ) -> None:
        self.file, self.valid_where = file, valid_where
        self.form = {"bands": bands, "file_bands": file_bands, "file_dtypes": file_dtypes, **more}

    def job(self, files: Files, dtype: str, kind: str, **more: Any) -> RasterJob:
        """Return the job for the files of a tile that has the file."""
        more |= {**self.form, "valid_where": files.get(self.valid_where)}
        return RasterJob(files[self.file], dtype=dtype, kind=kind, **more)


@dataclass(frozen=True)
class Release:
    """What is particular to a release of tiles; `read` adds what its authors say."""

    name: str
    title: str
    obtain: str
    licence: str
    citation: str
    like: str  # a path of the release, for people who look for it
    modalities: tuple[Modality, ...]  # the first that a tile has says its size
    readings: Mapping[str, Reading]  # of modalities and `label`
    needed: tuple[str, ...]  # rasters that no tile may lack
    path_of: Callable[[str, str], str]  # where the release has a raster of a tile
    gaps: tuple[str, ...] = ()  # rasters that the release itself has for some tiles only
    gsd_m: float | None = None  # pixel side, where the files do not tell
    # {split column: {part: tiles}} of the whole release
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    split_notes: Mapping[str, str] = field(default_factory=dict)
    nadir: bool = True
    conditions: tuple[str, ...] = ()  # attributes that are reported separately
    published: Published = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, **more: Any) -> Release:
        """Return a release whose texts, counts and statistics stand in `releases.toml`."""
        return cls(name, **read_release(name), **more)

    def adapter(self, plan: Callable[[SourceIndex, ImportOptions], ImportPlan]) -> Adapter:
        """Return the adapter that imports the release."""
        return Adapter(self.name, self.title, self.obtain, plan, self.modalities, self.classes)

    def classes(self) -> list[SceneClass]:
        """Return the classes with their colours."""
        return planning.read_classes(f"classes_{self.name}")

    def jobs(self, files: Files) -> dict[str, RasterJob]:
        """Return a job for every raster that the files of a tile give."""
        jobs: dict[str, RasterJob] = {}
        for modality in self.modalities:
            reading = self.readings[modality.name]
            # what is resized cannot say how large a tile is
            if reading.file in files and (jobs or not reading.form.get("resize")):
                jobs[modality.name] = reading.job(files, modality.dtype, modality.kind)
        label = self.readings["label"]
        if label.file in files:
            decode = partial(decode_raw_values, table=f"classes_{self.name}")
            jobs["label"] = label.job(files, "uint8", "label", decode=decode)
        return jobs


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
