"""One raster from a user's file into the store: checked, read raw, written whole or not at all."""

import errno
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from datamodules.ingest.journal import Item
from datamodules.ingest.plan import RasterJob
from datamodules.store.raster_errors import GDAL_ERRORS
from datamodules.store.raster_file import check_intact, one_line, open_raw, unreadable_error
from datamodules.store.reader import pad_edge
from datamodules.store.scene_store import IGNORE, SceneClass, file_sha256
from datamodules.store.statistics import PixelHash, RasterStatistics, histogram_uint8
from usererror import UserError

ROWS = 1024  # rows handled at a time; a multiple of the tile, so that every tile is written once
TILE = 256
# a raster up to this side reads fast whatever its layout, and may stay where it is
REFERENCE_SIDE = 1100
SIZE_TOLERANCE = 2  # pixels by which rasters of a scene may differ in size (dossier, rule 3)
# share of label pixels of unknown meaning: up to it they are ignored, above it an error
UNKNOWN_SHARE = 0.001
MAX_EXAMPLES = 5  # unknown values that are named
FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
# what GDAL and numpy raise for damage that no check foresees
DAMAGE = (ArithmeticError, AttributeError, IndexError, MemoryError, OSError, TypeError, ValueError)
Size = tuple[int, int]


def store_raster(item: Item, path: Path, classes: list[SceneClass]) -> dict[str, Any]:
    """Bring one raster into the store and return what is to be recorded of it.

    `path` is where the bytes are: the source file itself, or its copy from an archive. A label gets
    the colours of the `classes`.
    """
    job, target, shown = item.job, item.target, item.job.source.origin
    try:
        check_intact(path, shown)
        with open_raw(path, shown) as dataset:
            if dataset.count in job.variants_by_band_count:
                bands, decode = job.variants_by_band_count[dataset.count]
                job = replace(job, bands=bands, decode=decode)
            _check_bands(dataset, job)
            own = dataset.height, dataset.width
            size = item.size or own
            if not (job.needs_whole or job.resize):
                _check_size(own, size, shown, item.reference)
            sink = _Sink(job, size)
            blocks = _read_blocks(dataset, sink, item.reference)
            if _may_be_referenced(dataset, job, size):
                for _ in blocks:  # for the statistics alone
                    pass
                target = path
            else:
                _write_tiff(target, blocks, dataset, sink, classes)
            gsd_m = _pixel_metres(dataset)
        statistics = sink.final_statistics(len(classes))
    except DAMAGE as error:
        text = f"{shown} cannot be imported ({type(error).__name__}: {one_line(error)})."
        raise UserError(text) from error
    # one single value throughout says nothing: the job may have a fallback
    constant = job.kind != "label" and statistics["min"] == statistics["max"]
    stored = {"path": str(target), "bytes": target.stat().st_size, "sha256": file_sha256(target)}
    stored |= {"height": size[0], "width": size[1], "statistics": statistics}
    return stored | {"constant": constant, "warnings": sink.list_warnings(), "gsd_m": gsd_m}


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

    def add_block(self, block: np.ndarray) -> None:
        """Take in the next rows as they are stored, (C, h, w)."""
        if self.hash is None:
            # only the first block tells how many channels a decoder makes
            channels, dtype = len(block), self.job.dtype
            self.hash = PixelHash(channels, dtype)
            if self.job.kind != "label":
                self.stats = RasterStatistics(channels, dtype, *self.size, self.job.kind)
        self.hash.update(block)
        if self.stats is not None:
            self.stats.update(block)
        else:
            self.counts += histogram_uint8(block)

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

    def list_warnings(self) -> list[str]:
        """Return what is worth saying about a raster that was accepted."""
        if not self.unknown:
            return []
        values = ", ".join(self.examples)
        text = f"{self.unknown} label pixels of unknown value ({values}) are ignored"
        return [f"{self.shown}: {text}"]


def _check_bands(dataset: Any, job: RasterJob) -> None:
    shown, count = job.source.origin, dataset.count
    if (job.file_bands and count not in job.file_bands) or count < max(job.bands):
        expected = " or ".join(map(str, job.file_bands)) or f"at least {max(job.bands)}"
        remedy = ": a re-encoded copy? Use the original label" if job.kind == "label" else ""
        raise UserError(f"{shown} has {count} band(s), expected {expected}{remedy}.")
    dtypes = {dataset.dtypes[band - 1] for band in job.bands}
    if job.file_dtypes and not dtypes <= set(job.file_dtypes):
        expected = " or ".join(job.file_dtypes)
        raise UserError(f"{shown} has data type {', '.join(sorted(dtypes))}, expected {expected}.")


def _check_size(size: Size, expected: Size, shown: str, reference: str) -> None:
    if max(abs(size[0] - expected[0]), abs(size[1] - expected[1])) > SIZE_TOLERANCE:
        own = f"{shown} has {size[0]} x {size[1]} pixels (rows x columns)"
        other = f"{reference} has {expected[0]} x {expected[1]}"
        raise UserError(f"{own}, but {other}: not the same ground; replace the wrong one.")


def _may_be_referenced(dataset: Any, job: RasterJob, size: Size) -> bool:
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
    )


def _read_blocks(dataset: Any, sink: _Sink, reference: str) -> Iterator[np.ndarray]:
    """Yield the raster as it is stored, (C, rows, width), telling the sink about each block."""
    job, size = sink.job, sink.size
    height, width = size
    if job.needs_whole or job.resize:
        # such rasters are small: 512 x 512, or a frame of a street scene
        raw = _read_window(dataset, job, Window(0, 0, dataset.width, dataset.height))
        block = _decode_block(raw, job, sink)
        if job.resize:
            # pixel i shows floor(i * old / new), the rule of common libraries
            y = np.arange(height) * block.shape[1] // height
            x = np.arange(width) * block.shape[2] // width
            block = block[:, y[:, None], x[None, :]]
        _check_size(block.shape[1:], size, job.source.origin, reference)
        block = pad_edge(block[:, :height, :width], *size)
        for row in range(0, height, ROWS):
            sink.add_block(block[:, row : row + ROWS])
            yield block[:, row : row + ROWS]
        return
    for row in range(0, height, ROWS):
        rows = min(ROWS, height - row)
        top = min(row, dataset.height - 1)  # rows below the file repeat its last one
        bottom = max(top + 1, min(row + rows, dataset.height))
        window = Window(0, top, min(width, dataset.width), bottom - top)
        raw = _read_window(dataset, job, window)
        # cropped, or the last row and column repeated (dossier 12.2)
        block = pad_edge(_decode_block(raw, job, sink)[:, :rows, :width], rows, width)
        sink.add_block(block)
        yield block


def _read_window(dataset: Any, job: RasterJob, window: Any) -> np.ndarray:
    try:
        return dataset.read(list(job.bands), window=window)
    except RasterioError as error:  # told apart here from failures of writing
        raise unreadable_error(job.source.origin, error) from error


def _decode_block(raw: np.ndarray, job: RasterJob, sink: _Sink) -> np.ndarray:
    if job.decode is None:
        return raw.astype(job.dtype, copy=False)
    decoded = job.decode(raw)
    if job.kind == "label":
        ids, unknown = decoded
        sink.add_unknown(raw, unknown)
        return ids[None]
    return decoded.astype(job.dtype, copy=False)


def _write_tiff(
    target: Path, blocks: Iterator[np.ndarray], like: Any, sink: _Sink, classes: list[SceneClass]
) -> None:
    """Write the blocks as an uncompressed tiled GeoTIFF: temporary name, read back, renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.stem}.{os.getpid()}.part")
    # decoded before the file exists: a damaged source leaves none behind
    first = next(blocks)
    job, (height, width) = sink.job, sink.size
    profile = {"driver": "GTiff", "width": width, "height": height, "count": len(first)}
    # bands apart, because a modality may need one of several
    profile |= {"dtype": job.dtype, "interleave": "band", "bigtiff": "if_safer"}
    profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "crs": like.crs}
    if not like.transform.is_identity:  # the file has a place
        profile["transform"] = like.transform
    checks: list[int] = []
    try:
        with _silent_gdal(), rasterio.open(temporary, "w", **profile) as dataset:
            if job.kind == "label":
                dataset.write_colormap(1, {c.id: (*c.color, 255) for c in classes})
            row = 0
            for block in chain([first], blocks):
                dataset.write(block, window=Window(0, row, width, block.shape[1]))
                # a checksum, since the blocks together may not fit into memory
                checks.append(zlib.crc32(np.ascontiguousarray(block).data))
                row += block.shape[1]
        if not _reads_back(temporary, checks):
            raise _write_error(target, "what was written does not read back")
        # on the disk before it has its name: a power failure leaves no half-written raster
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    except (*GDAL_ERRORS, OSError) as error:
        if isinstance(error, GDAL_ERRORS) or error.errno in FULL_DISK:
            raise _write_error(target, one_line(error)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _reads_back(path: Path, checks: list[int]) -> bool:
    """Tell whether the file holds the blocks: one cut short by a full disk may open as well."""
    try:
        with _silent_gdal(), rasterio.open(path) as dataset:
            for i, check in enumerate(checks):
                rows = min(ROWS, dataset.height - i * ROWS)
                block = dataset.read(window=Window(0, i * ROWS, dataset.width, rows))
                if zlib.crc32(block) != check:
                    return False
    except RasterioError:
        return False
    return True


class DiskFullError(UserError):
    """The store cannot grow any more: going on with other rasters makes no sense."""


def _write_error(target: Path, reason: str) -> DiskFullError:
    why = f"{reason}; {shutil.disk_usage(target.parent).free / 1e6:.0f} MB free"
    remedy = "make room, or lift the limit on file sizes, and run the same command again"
    return DiskFullError(f"{target} could not be written whole ({why}): {remedy} to resume it.")


@contextmanager
def _silent_gdal() -> Iterator[None]:
    """Silence GDAL's log and the warning about missing coordinates; failures still raise."""
    logger = logging.getLogger("rasterio")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            yield
    finally:
        logger.setLevel(level)


def _pixel_metres(dataset: Any) -> float | None:
    if dataset.crs is None or not dataset.crs.is_projected or dataset.transform.is_identity:
        return None
    try:
        return abs(dataset.transform.a) * float(dataset.crs.linear_units_factor[1])
    except Exception:  # a coordinate system without a known unit
        return None
