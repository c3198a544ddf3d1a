"""One raster from a user's file into the store: checked, read, described."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.ingest.journal import Item
from datamodules.ingest.place_check import find_place
from datamodules.ingest.plan import RasterJob
from datamodules.ingest.tiff_writer import write_tiff
from datamodules.rasters.placement import REMEDY, Grid
from datamodules.rasters.raster_file import (
    check_intact,
    foreign_mask,
    mask_beside,
    missing_blocks,
    one_line,
    open_raw,
)
from datamodules.rasters.source_raster import Pixels, SourceRaster
from datamodules.store.reader import pad_edge
from datamodules.store.scene_store import IGNORE, SceneClass, file_sha256
from datamodules.store.statistics import PixelHash, RasterStatistics, histogram_uint8
from usererror import UserError

ROWS = 1024  # rows handled at a time; a multiple of the tile, so that every tile is written once
# a raster up to this side reads fast whatever its layout, and may stay where it is
REFERENCE_SIDE = 1100
# share of label pixels of unknown meaning: up to it they are ignored, above it an error
UNKNOWN_SHARE = 0.001
MAX_EXAMPLES = 5  # unknown values that are named
# what GDAL and numpy raise for damage that no check foresees
DAMAGE = (ArithmeticError, AttributeError, IndexError, MemoryError, OSError, TypeError, ValueError)
Size = tuple[int, int]


def store_raster(
    item: Item, path: Path, classes: list[SceneClass], where: Path | None = None
) -> dict[str, Any]:
    """Bring one raster into the store and return what is to be recorded of it.

    `path` is where the bytes are: the source file itself, or its copy from an archive; `where` is
    that of the job's `valid_where`. A label gets the colours of the `classes`.
    """
    job, shown = item.job, item.job.source.origin
    try:
        check_intact(path, shown)
        with open_raw(path, shown) as dataset, _open_where(item.job, where) as valid_where:
            if dataset.count in job.variants_by_band_count:
                bands, decode = job.variants_by_band_count[dataset.count]
                job = replace(job, bands=bands, decode=decode)
            raster = _describe(dataset, job)
            _check_bands(raster, job)
            if job.vet is not None and (problem := job.vet(dataset)):
                raise UserError(f"{shown}: {problem}.")
            own = dataset.height, dataset.width
            size = item.size or own
            if not (job.needs_whole or job.resize) or job.spans != 1:
                _check_size((own[0] * job.spans, own[1] * job.spans), size, item)
            sink = _Sink(job, size)
            place, notes = find_place(raster, item)
            if valid_where is not None:
                _check_beside(valid_where, item, own, place)
                raster.valid_where = valid_where
            blocks = _read_blocks(raster, sink, item)
            target = path
            if _may_be_referenced(raster, job, size):
                for _ in blocks:  # for the statistics alone
                    pass
            if sink.hash is None or not raster.is_plain:
                target, sink = item.target, _Sink(job, size)
                palette = classes if job.kind == "label" else []
                blocks = _read_blocks(raster, sink, item)
                write_tiff(target, blocks, size, job.dtype, place, palette)
            sink.notes += notes + _describe_file(raster, path)
            gsd_m, names = _pixel_metres(dataset), raster.names
        statistics = sink.final_statistics(len(classes))
    except DAMAGE as error:
        text = f"{shown} cannot be imported ({type(error).__name__}: {one_line(error)})."
        raise UserError(text) from error
    # one single value throughout says nothing: the job may have a fallback
    constant = job.kind != "label" and statistics["min"] == statistics["max"]
    stored = {"path": str(target), "bytes": target.stat().st_size, "sha256": file_sha256(target)}
    stored |= {"height": size[0], "width": size[1], "statistics": statistics}
    stored |= {"constant": constant, "warnings": sink.list_warnings(), "gsd_m": gsd_m}
    return stored | {"place": place.to_json(), "bands": names}


class _Sink:
    """What is learned from the blocks on their way: hash, statistics, unknown label values."""

    def __init__(self, job: RasterJob, size: Size) -> None:
        self.job, self.size = job, size
        self.shown = job.source.origin
        self.counts = np.zeros(256, np.int64)  # of label values
        self.stats: RasterStatistics | None = None
        self.hash: PixelHash | None = None
        self.unknown = 0
        self.examples: list[str] = []
        self.notes: list[str] = []

    def add_block(self, block: np.ndarray, void: np.ndarray | None) -> Pixels:
        """Take in the next rows as they are stored, (C, h, w) and (h, w), and return them."""
        if self.hash is None:
            # only the first block tells how many channels a decoder makes
            channels, dtype = len(block), self.job.dtype
            self.hash = PixelHash(channels, dtype)
            if self.job.kind != "label":
                form = channels, dtype, *self.size
                self.stats = RasterStatistics(*form, self.job.kind, self.job.clip_db)
        self.hash.update(block, void)
        if self.stats is not None:
            self.stats.update(block, void)
        else:
            self.counts += histogram_uint8(block)
        return block, void

    def add_unknown(self, raw: np.ndarray, unknown: np.ndarray) -> None:
        """Count the `unknown` (h, w) pixels of a label (C, h, w) and keep a few of their values."""
        self.unknown += int(unknown.sum())
        if not self.unknown or len(self.examples) == MAX_EXAMPLES:
            return
        # a few values are enough to recognise a wrong file by
        for value in np.unique(raw[:, unknown].T, axis=0)[:MAX_EXAMPLES].tolist():
            text = str(tuple(value)) if len(value) > 1 else str(value[0])
            if text not in self.examples and len(self.examples) < MAX_EXAMPLES:
                self.examples.append(text)

    def final_statistics(self, classes: int) -> dict[str, Any]:
        """Return the statistics; raises UserError when they say that the raster is useless."""
        assert self.hash is not None
        digest = {"pixels_sha256": self.hash.hexdigest()}
        remedy = "replace it, or take the scene out of the source."
        if self.stats is not None:
            self._check_range()
            if self.stats.count == 0:
                raise UserError(f"{self.shown} has no valid pixel: {remedy}")
            return {**self.stats.result(), **digest}
        share = self.unknown / (self.size[0] * self.size[1])
        if share > UNKNOWN_SHARE:
            values = f"have a value that is no class ({', '.join(self.examples)}, ...)"
            wrong = f"{100 * share:.2f} % of the label pixels {values}"
            raise UserError(f"{self.shown}: {wrong}: {self.job.unknown_remedy}")
        counts = {str(value): int(self.counts[value]) for value in (*range(classes), IGNORE)}
        if sum(counts.values()) == counts[str(IGNORE)]:
            raise UserError(f"{self.shown} has not one valid label pixel: {remedy}")
        return {"counts": counts, **digest}

    def _check_range(self) -> None:
        """Refuse a raster most of whose values no sensor of its kind measures: it is another."""
        assert self.stats is not None
        low, high = self.stats.outside_range
        # a single value is a fill, however much of it there is
        values = len(self.job.bands) * self.size[0] * self.size[1]
        if 2 * self.stats.outside > values and low < high:
            share = f"most of its values, {low:g} to {high:g}, are none of the kind {self.job.kind}"
            raise UserError(f"{self.shown}: {share}: name its kind and unit in about.json.")

    def list_warnings(self) -> list[str]:
        """Return what is worth saying about a raster that was accepted."""
        notes = list(self.notes)
        if self.unknown:
            values = ", ".join(self.examples)
            notes.append(f"{self.unknown} label pixels of unknown value ({values}) are ignored")
        return [f"{self.shown}: {note}" for note in notes]


def _describe(dataset: Any, job: RasterJob) -> SourceRaster:
    """Take the file's own word for what it holds, as far as the job lets it."""
    is_label = job.kind == "label"
    # a label drawn from outlines takes nothing but its size from the image
    believe = job.believe and not (is_label and job.needs_whole)
    raster = SourceRaster(dataset, job.source.origin, job.bands, is_label, believe)
    if is_label and believe and _tag_is_class(raster, job):
        raster.believe = False
    return raster


def _describe_file(raster: SourceRaster, path: Path) -> list[str]:
    """Say what is worth knowing of how a file was read."""
    notes = []
    if (mask := foreign_mask(path)) is not None:
        notes.append(f"{mask.name} is no TIFF and was not read")
    if raster.dataset.driver == "GTiff" and (share := missing_blocks(raster.dataset)):
        notes.append(f"{100 * share:.2f} % of its blocks are not stored and read as nodata or 0")
    if raster.is_label and not raster.believe and raster.dataset.nodata is not None:
        notes.append(f"its nodata value {raster.dataset.nodata:g} is a class and read as such")
    return notes


def _tag_is_class(raster: SourceRaster, job: RasterJob) -> bool:
    """Tell whether the value that a label calls nodata is a class: the list of classes wins."""
    tag = raster.dataset.nodata
    if tag is None or job.decode is None or raster.count < max(job.bands):
        return False
    dtype = np.dtype(raster.dtype)
    if dtype.kind != "f" and tag != int(tag):
        return False
    ids, unknown = job.decode(np.full((len(job.bands), 1, 1), tag).astype(dtype))
    return not unknown.item() and ids.item() != IGNORE


def _check_bands(raster: SourceRaster, job: RasterJob) -> None:
    shown, count = job.source.origin, raster.count
    # with alpha or without: an adapter may name either
    fits = not job.file_bands or {count, raster.dataset.count} & set(job.file_bands)
    if not fits or count < max(job.bands):
        expected = " or ".join(map(str, job.file_bands)) or f"at least {max(job.bands)}"
        remedy = ": a re-encoded copy? Use the original label" if job.kind == "label" else ""
        raise UserError(f"{shown} has {count} band(s), expected {expected}{remedy}.")
    if job.file_dtypes and not raster.dtypes <= set(job.file_dtypes):
        expected, found = " or ".join(job.file_dtypes), ", ".join(sorted(raster.dtypes))
        raise UserError(f"{shown} has data type {found}, expected {expected}.")


def _check_size(size: Size, expected: Size, item: Item) -> None:
    apart = max(abs(size[0] - expected[0]), abs(size[1] - expected[1]))
    if apart > item.job.size_tolerance:
        spans = item.job.spans
        own = f"{item.job.source.origin} has {size[0] // spans} x {size[1] // spans} pixels"
        own += " (rows x columns)" + (f" that span {spans} of the scene's" if spans != 1 else "")
        other = f"{item.reference} has {expected[0]} x {expected[1]}"
        raise UserError(f"{own}, but {other}: {REMEDY}, or replace the wrong one.")


@contextmanager
def _open_where(job: RasterJob, path: Path | None) -> Iterator[SourceRaster | None]:
    """Open the raster that says where a label is valid, if there is one."""
    if job.valid_where is None or path is None:
        yield None
        return
    check_intact(path, job.valid_where.origin)
    with open_raw(path, job.valid_where.origin) as dataset:
        yield SourceRaster(dataset, job.valid_where.origin, believe=job.believe)


def _check_beside(where: SourceRaster, item: Item, size: Size, place: Grid) -> None:
    """Raise UserError unless `where` has the label's own size and place."""
    assert item.job.valid_where is not None
    label = item.job.source.origin
    job = replace(item.job, source=item.job.valid_where, size_tolerance=0)
    known = place.to_json() if place.transform else item.place
    beside = replace(item, job=job, reference=label, place=known)
    _check_size((where.dataset.height, where.dataset.width), size, beside)
    find_place(where, beside)


def _may_be_referenced(raster: SourceRaster, job: RasterJob, size: Size) -> bool:
    dataset = raster.dataset
    return (
        job.may_reference
        and job.source.member is None
        and job.decode is None
        and job.kind != "label"
        and job.bands == tuple(range(1, len(job.bands) + 1))  # further ones are not read
        and set(dataset.dtypes) == {job.dtype}
        and (dataset.height, dataset.width) == size
        and max(size) <= REFERENCE_SIDE
        and dataset.driver in ("GTiff", "PNG")
        # a mask beside it could be written anew without a change of the raster
        and mask_beside(Path(dataset.name)) is None
    )


def _read_blocks(raster: SourceRaster, sink: _Sink, item: Item) -> Iterator[Pixels]:
    """Yield the raster as it is stored, (C, rows, width), and where whole numbers are void.

    The sink is told about each block.
    """
    job, (height, width), dataset = sink.job, sink.size, raster.dataset
    if job.needs_whole or job.resize:
        # such rasters are small: 512 x 512, or a frame of a street scene
        block, void = _decode_block(raster, sink, 0, dataset.height, dataset.width)
        if job.resize:
            # pixel i shows floor(i * old / new), the rule of common libraries
            y = np.arange(height) * block.shape[1] // height
            x = np.arange(width) * block.shape[2] // width
            block, void = block[:, y[:, None], x], None if void is None else void[y[:, None], x]
        _check_size(block.shape[1:], sink.size, item)
        block, void = _fit(block, void, height, width)
        for row in range(0, height, ROWS):
            here = slice(row, row + ROWS)
            yield sink.add_block(block[:, here], None if void is None else void[here])
        return
    for row in range(0, height, ROWS):
        rows = min(ROWS, height - row)
        top = min(row, dataset.height - 1)  # rows below the file repeat its last one
        bottom = max(top + 1, min(row + rows, dataset.height))
        block, void = _decode_block(raster, sink, top, bottom - top, min(width, dataset.width))
        yield sink.add_block(*_fit(block, void, rows, width))


def _fit(block: np.ndarray, void: np.ndarray | None, rows: int, columns: int) -> Pixels:
    """Crop, or repeat the last row and column (dossier 12.2)."""
    if void is not None:
        void = pad_edge(void[None, :rows, :columns], rows, columns)[0]
    return pad_edge(block[:, :rows, :columns], rows, columns), void


def _decode_block(raster: SourceRaster, sink: _Sink, row: int, rows: int, columns: int) -> Pixels:
    """Read rows and bring them into the form of the store."""
    job = sink.job
    raw, void = raster.read(row, 0, rows, columns, job.kind)
    block = raw if job.decode is None else job.decode(raw)
    if job.kind == "label":
        ids, unknown = block
        if void is not None:
            ids, unknown = np.where(void, IGNORE, ids).astype(np.uint8), unknown & ~void
        sink.add_unknown(raw, unknown)
        return ids[None], None
    block = block.astype(job.dtype, copy=False)
    if void is None:
        return block, None
    # what lies below a void says nothing, so that it must not tell two stores apart
    if block.dtype.kind == "f":
        return np.where(void, np.float32(np.nan), block), None
    return np.where(void, block.dtype.type(0), block), void


def _pixel_metres(dataset: Any) -> float | None:
    if dataset.crs is None or not dataset.crs.is_projected or dataset.transform.is_identity:
        return None
    try:
        return abs(dataset.transform.a) * float(dataset.crs.linear_units_factor[1])
    except Exception:  # a coordinate system without a known unit
        return None
