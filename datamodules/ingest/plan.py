"""What an adapter hands to the importer: which scenes there are, and how each raster is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.rasters.placement import TOLERANCE
from datamodules.rasters.units import Clip
from datamodules.store.scene_store import Modality, SceneClass

Published = Mapping[str, tuple[Sequence[float], Sequence[float]]]
Decode = Callable[[np.ndarray], Any]
Bands = tuple[int, ...]
# {bands of the file: (bands, decode)} for files that are read differently
Variants = Mapping[int, tuple[Bands, Decode | None]]


@dataclass(frozen=True)
class RasterJob:
    """One raster of the store and how to get it from one file of the source. Must be picklable.

    `decode` turns (bands, h, w) into (C, h, w), those of a label into ids (h, w) uint8 and unknown
    (h, w) bool, which marks values that mean nothing (255 in ids, and counted). A module-level
    function or a `functools.partial` of one; None keeps the values.

    Example:
        >>> from pathlib import Path
        >>> file = SourceFile(Path("a.tif"), "a.tif", "a.tif", 0, "")
        >>> job = RasterJob.image(file, bands=(4,), file_bands=(4,))
        >>> job.bands, job.dtype, job.kind
        ((4,), 'uint8', 'optical')
    """

    source: SourceFile
    bands: Bands  # of the file, from 1, in the order they are stored
    dtype: str  # in the store
    kind: str  # of the modality, or `label`
    clip_db: Clip = field(default=None, kw_only=True)  # of the modality, which says it
    file_bands: Bands = ()  # accepted numbers of bands; empty: any that has `bands`
    file_dtypes: tuple[str, ...] = ()  # accepted data types of the file; empty: any
    decode: Decode | None = None
    needs_whole: bool = False  # `decode` needs the whole raster instead of blocks of rows
    fallback: SourceFile | None = None  # used where `source` turns out to hold a single value
    depends_on: tuple[SourceFile, ...] = ()  # further files that decide the pixels (annotations)
    # a small unpacked file whose first bands are the wanted ones may stay where it is
    may_reference: bool = False
    variants_by_band_count: Variants = field(default_factory=dict)
    resize: bool = False  # to the scene's size by nearest neighbour, whatever its own is
    spans: int = 1  # with `resize`: if not 1, how many of the scene's pixels one of its own spans
    vet: Callable[[Any], str] | None = None  # what is wrong with the open file, "" for nothing
    # of a label: a raster of the same grid; where any band of it holds no value, the label is 255
    valid_where: SourceFile | None = None
    unknown_remedy: str = "is this the right label file?"  # for label values that mean nothing
    believe: bool = True  # what the file says of voids: nodata tags, masks, transparency
    size_tolerance: int = 0  # pixels by which it may differ from the scene's size
    place_tolerance: float = TOLERANCE  # pixels by which its place may; infinite: not compared

    @classmethod
    def image(
        cls, file: SourceFile, bands: Bands = (1, 2, 3), file_bands: Bands = (3,), **more: Any
    ) -> RasterJob:
        """Take bands of an 8-bit picture as they are; its kind is optical unless `more` says."""
        more = {"kind": "optical", "file_dtypes": ("uint8",), **more}
        return cls(file, bands, "uint8", file_bands=file_bands, **more)

    @classmethod
    def measurement(cls, file: SourceFile, kind: str, may_reference: bool = False) -> RasterJob:
        """Take one band of heights in metres or of backscatter, stored as float32."""
        # more digits than float32 has are noise of the survey
        types = ("float32", "float64")
        return cls(file, (1,), "float32", kind, (1,), types, may_reference=may_reference)

    @classmethod
    def height_decimetres(cls, file: SourceFile, fallback: SourceFile | None = None) -> RasterJob:
        """Take heights above ground from an 8-bit picture in decimetres (dossier 3.3)."""
        # such a picture opens with one band or with three equal ones
        form = "float32", "height_normalised", (1, 3), ("uint8",)
        return cls(file, (1,), *form, decimetres_to_metres, fallback=fallback)

    @classmethod
    def label(cls, file: SourceFile, decode: Decode, bands: Bands = (1,), **more: Any) -> RasterJob:
        """Take class ids that `decode` finds in the bands of a label or an image."""
        more = {"file_dtypes": ("uint8",), **more}
        return cls(file, bands, "uint8", "label", decode=decode, **more)

    @property
    def other_files(self) -> tuple[SourceFile, ...]:
        """The files besides `source` that may decide the pixels."""
        optional = (self.fallback, self.valid_where)
        return (*(file for file in optional if file is not None), *self.depends_on)

    def recipe(self) -> str:
        """Return text that changes when the job would give other pixels or put them elsewhere."""
        text = f"{self.bands} {self.dtype} {self.kind} {self.may_reference} {self.resize}"
        text += f" {_decoder_name(self.decode)}"
        # named where they differ: finished rasters of an older import stay finished
        text += f" spans {self.spans}" if self.spans != 1 else ""
        text += "" if self.believe else " tags are wrong"
        text += f" +-{self.size_tolerance}" if self.size_tolerance else ""
        text += "" if self.place_tolerance == TOLERANCE else f" within {self.place_tolerance}"
        text += f" valid where{self.valid_where.beside}" if self.valid_where else ""
        text += f" clip {self.clip_db}" if self.clip_db else ""
        for file in self.other_files:
            text += f" {file.origin}:{file.stamp}"
        for count, (bands, decode) in self.variants_by_band_count.items():
            text += f" {count}: {bands} {_decoder_name(decode)}"
        return text


def decimetres_to_metres(values: np.ndarray) -> np.ndarray:
    """Return heights in metres (float32) from decimetres (uint8)."""
    return values.astype(np.float32) / np.float32(10)


def _decoder_name(decode: Decode | None) -> str:
    if decode is None:
        return ""
    # the name, not the code: after a change of a decoder an import needs FORCE=1
    function = getattr(decode, "func", decode)
    arguments = [getattr(decode, "args", ()), getattr(decode, "keywords", {})]
    return f"{function.__module__}.{function.__qualname__}{arguments}"


@dataclass(frozen=True)
class ScenePlan:
    """One scene: id, split per split column, attributes, and a job per raster it has.

    `reference` is the raster whose size is the scene's; those that may differ from it by a few
    pixels (`RasterJob.size_tolerance`) are cropped or edge-replicated at the bottom and right.
    """

    id: str
    splits: dict[str, str]
    jobs: dict[str, RasterJob]
    reference: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A raster that a scene lacks; `expected` is the name of the file that was looked for."""

    scene: str
    raster: str
    expected: str


@dataclass
class ImportPlan:
    """All that is known of a dataset before its pixels are read."""

    title: str
    licence: str
    citation: str
    classes: list[SceneClass]
    modalities: list[Modality]
    labels: list[str]  # the first is the one every scene has
    splits: dict[str, tuple[str, ...]]  # {column: parts (train, val, test) it is meant to have}
    scenes: list[ScenePlan]  # with at least one modality and a label
    split_notes: dict[str, str] = field(default_factory=dict)  # for readers of a split's numbers
    gsd_m: float | None = None  # pixel side in metres; None: from rasters with metric coordinates
    gsd_default: float | None = None  # used when the rasters do not tell either
    nadir: bool = True  # seen from straight above, so that quarter turns make sense
    conditions: list[str] = field(default_factory=list)  # attributes that are reported separately
    attributes: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    inventory: list[str] = field(default_factory=list)  # printed before the work
    # {raster: (means, deviations) per band} over the training part, as stored (radar in decibels)
    published: Published = field(default_factory=dict)


@dataclass(frozen=True)
class ImportOptions:
    """What the user asked for."""

    tiles: tuple[str, ...] | None = None  # the only scenes wanted
    allow_incomplete: bool = False
    copy: bool = False  # leave no raster where it is
    ignore_nodata: tuple[str, ...] = ()  # rasters whose files are wrong about their voids
    align: str = "check"  # places of a scene's rasters; "ignore": the pixels lie as they are


@dataclass(frozen=True)
class Adapter:
    """What is particular to one dataset: how to obtain it, and how its files become a plan.

    `obtain` says what to request and where; `plan` raises UserError for a source that holds nothing
    of this dataset; `modalities` and `classes` are known before any import.
    """

    name: str
    title: str
    obtain: str
    plan: Callable[[SourceIndex, ImportOptions], ImportPlan]
    modalities: tuple[Modality, ...] = ()
    classes: Callable[[], list[SceneClass]] | None = None
