"""What an adapter hands to the importer: which scenes there are, and how each raster of theirs is to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.store.scene_store import Modality, SceneClass

Decode = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class RasterJob:
    """One raster of the store and how to get it from one file of the source. Must be picklable.

    Args:
        source: the file.
        bands: which of its bands, 1-based, in the order they are stored.
        dtype: data type in the store.
        kind: kind of the modality, or `label`.
        file_bands: accepted numbers of bands in the file; empty means any number that has `bands`.
        file_dtypes: accepted data types of the file; empty means any.
        decode: `bands` x h x w -> C x h x w; for a label -> (ids uint8 h x w, unknown bool h x w), where `unknown`
            marks values that mean nothing (they are 255 in ids, and counted). A module-level function or a
            `functools.partial` of one, applied to blocks of rows unless `whole`. None keeps the values.
        whole: `decode` needs the whole raster at once, because it changes its size or looks at neighbours.
        fallback: file to use where `source` turns out to hold a single value.
        beside: further files that the pixels depend on (annotations); a change in one means reading again.
        stay: a small unpacked file whose first bands are the wanted ones may be referenced where it is.
        by_bands: {number of bands in the file: (bands, decode)} where a file with so many is to be read differently.
        resize: bring the decoded raster to the scene's size by nearest neighbour, whatever its own is (with `whole`).
    """

    source: SourceFile
    bands: tuple[int, ...]
    dtype: str
    kind: str
    file_bands: tuple[int, ...] = ()
    file_dtypes: tuple[str, ...] = ()
    decode: Decode | None = None
    whole: bool = False
    fallback: SourceFile | None = None
    beside: tuple[SourceFile, ...] = ()
    stay: bool = False
    by_bands: Mapping[int, tuple[tuple[int, ...], Decode | None]] = field(default_factory=dict)
    resize: bool = False

    def recipe(self) -> str:
        """Text that changes when the job would give other pixels from the same file, or put them elsewhere."""
        others = " ".join(f"{file.origin}:{file.stamp}" for file in self.others())
        text = f"{self.bands} {self.dtype} {self.kind} {self.stay} {_name(self.decode)} {others}"
        for count, (bands, decode) in self.by_bands.items():
            text += f" {count}: {bands} {_name(decode)}"
        return text + (" resized" if self.resize else "")

    def others(self) -> tuple[SourceFile, ...]:
        """Return the files besides `source` that may decide the pixels."""
        return (*((self.fallback,) if self.fallback else ()), *self.beside)


def _name(decode: Decode | None) -> str:
    if decode is None:
        return ""
    function = getattr(decode, "func", decode)
    arguments = [getattr(decode, "args", ()), getattr(decode, "keywords", {})]
    return f"{function.__module__}.{function.__qualname__}{arguments}"


@dataclass(frozen=True)
class ScenePlan:
    """One scene: id, split per split column, attributes, and a job per raster it has.

    `reference` is the raster whose size is the scene's; the others may differ by up to two pixels at the bottom or
    right and are cropped or edge-replicated.
    """

    id: str
    splits: dict[str, str]
    jobs: dict[str, RasterJob]
    reference: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A raster that a scene should have and has not; `expected` is the name of the file that was looked for."""

    scene: str
    raster: str
    expected: str


@dataclass
class ImportPlan:
    """All that is known of a dataset before its pixels are read.

    Args:
        title, licence, citation: for dataset.json and reports.
        classes: ids contiguous from 0.
        modalities: in the dataset's own order.
        labels: label columns, the first being the one every scene has.
        splits: split columns, each with the parts (train, val, test) it is meant to have.
        scenes: those with at least one modality and a label.
        split_notes: {split column: what a reader of its numbers has to know}, e.g. that its parts share ground.
        gsd_m: pixel side in metres; None takes it from the rasters where their coordinates are metric.
        gsd_default: used when the rasters do not tell either.
        nadir: seen from straight above, so that quarter turns make sense.
        conditions: attributes by which evaluation reports separately.
        attributes: all attribute columns.
        missing: rasters that are needed and were not found.
        warnings: what the user should know.
        inventory: lines printed before the work.
    """

    title: str
    licence: str
    citation: str
    classes: list[SceneClass]
    modalities: list[Modality]
    labels: list[str]
    splits: dict[str, tuple[str, ...]]
    scenes: list[ScenePlan]
    split_notes: dict[str, str] = field(default_factory=dict)
    gsd_m: float | None = None
    gsd_default: float | None = None
    nadir: bool = True
    conditions: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    inventory: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImportOptions:
    """What the user asked for.

    `tiles` names the only scenes wanted, `allow_incomplete` permits missing files, `copy` leaves no raster where it is.
    """

    tiles: tuple[str, ...] | None = None
    allow_incomplete: bool = False
    copy: bool = False


@dataclass(frozen=True)
class Adapter:
    """What is particular to one dataset: how to obtain it, and how its files become an import plan.

    `obtain` says in plain sentences what to request, where, and how to name it to the importer; `plan` raises UserError
    when the source holds nothing of this dataset. `modalities` and `classes` are known before any import; a folder
    of the user's own has none.
    """

    name: str
    title: str
    obtain: str
    plan: Callable[[SourceIndex, ImportOptions], ImportPlan]
    modalities: tuple[Modality, ...] = ()
    classes: Callable[[], list[SceneClass]] | None = None


def share_out(values: Mapping[str, int]) -> str:
    """Return counts as text: `24 train, 14 test`."""
    return ", ".join(f"{n} {name}" for name, n in values.items() if n)
