"""One raster from a user's file into the store: checked before it is trusted, read raw, written whole or not."""

from __future__ import annotations

import errno
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.ingest.plan import RasterJob
from datamodules.store.raster_file import check_intact, one_line, open_raw, unreadable
from datamodules.store.scene_store import IGNORE, SceneClass, file_sha256
from datamodules.store.statistics import LabelCounts, PixelHash, RasterStatistics
from usererror import UserError

ROWS = 1024  # rows handled at a time; a multiple of the tile, so that every tile is written once
TILE = 256
STAY_SIDE = (
    1100  # a raster up to this side reads fast whatever its layout, and may stay where it is
)
SIZE_TOLERANCE = 2  # pixels by which rasters of a scene may differ in size (dossier, rule 3)
UNKNOWN_SHARE = (
    0.001  # label pixels of unknown meaning: up to this share 255 and a warning, above it an error
)
FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def process(
    job: RasterJob,
    path: Path,
    target: Path,
    size: tuple[int, int] | None,
    reference: str,
    classes: list[SceneClass],
) -> dict[str, Any]:
    """Bring one raster into the store and return what is to be recorded of it.

    Args:
        job: what to do.
        path: where the bytes are (the source file itself, or its copy from an archive).
        target: the file to write, unless the raster may stay where it is.
        size: (height, width) of the scene; None when this raster is the one that says it.
        reference: name of the file that gave `size`, for the error.
        classes: of the dataset; a label gets their colours.

    Returns:
        path (text, absolute), bytes, sha256, height, width, statistics, constant (one single value), warnings, gsd_m.

    Raises:
        UserError: the file is damaged, has other bands, data type or size than it should, has no valid pixel, or is a
            label with more than 0.1 % unknown values; the disk is full.
    """
    shown = job.source.origin
    try:
        return _process(job, path, target, size, reference, classes)
    except (
        ArithmeticError,
        AttributeError,
        IndexError,
        MemoryError,
        OSError,
        TypeError,
        ValueError,
    ) as error:
        raise UserError(
            f"{shown} cannot be imported ({type(error).__name__}: {one_line(error)})."
        ) from error


def _process(
    job: RasterJob,
    path: Path,
    target: Path,
    size: tuple[int, int] | None,
    reference: str,
    classes: list[SceneClass],
) -> dict[str, Any]:
    shown = job.source.origin
    check_intact(path, shown)
    with open_raw(path, shown) as dataset:
        if dataset.count in job.by_bands:
            bands, decode = job.by_bands[dataset.count]
            job = replace(job, bands=bands, decode=decode)
        _check_bands(dataset, job, shown)
        height, width = size or (dataset.height, dataset.width)
        if not job.whole:
            _check_size((dataset.height, dataset.width), (height, width), shown, reference)
        sink = _Sink(job, height, width)
        blocks = _blocks(dataset, job, height, width, sink, reference)
        if _may_stay(dataset, job, height, width):
            for _ in blocks:
                pass
            target = path
        else:
            _write(target, blocks, dataset, job, height, width, classes)
        gsd_m = _metres(dataset)
    statistics = sink.result(len(classes), shown)
    return {
        "path": str(target),
        "bytes": target.stat().st_size,
        "sha256": file_sha256(target),
        "height": height,
        "width": width,
        "statistics": statistics,
        "constant": job.kind != "label" and statistics["min"] == statistics["max"],
        "warnings": sink.warnings(shown),
        "gsd_m": gsd_m,
    }


class _Sink:
    """What is learned from the blocks on their way: hash, statistics, unknown label values."""

    def __init__(self, job: RasterJob, height: int, width: int) -> None:
        self.job, self.pixels = job, height * width
        self.is_label = job.kind == "label"
        self.size = (height, width)
        self.counts = LabelCounts()
        self.stats: RasterStatistics | None = None
        self.hash: PixelHash | None = None
        self.unknown = 0
        self.examples: list[str] = []

    def add(self, block: np.ndarray) -> None:
        """Take in the next rows as they are stored, C x h x w."""
        if self.hash is None:
            channels, dtype = len(block), self.job.dtype
            self.hash = PixelHash(channels, dtype)
            if not self.is_label:
                self.stats = RasterStatistics(channels, dtype, *self.size, self.job.kind)
        self.hash.update(block)
        if self.is_label:
            self.counts.update(block)
        elif self.stats is not None:
            self.stats.update(block)

    def add_unknown(self, raw: np.ndarray, unknown: np.ndarray) -> None:
        """Count unknown label pixels and keep a few of their values; `raw` is C x h x w, `unknown` bool h x w."""
        self.unknown += int(unknown.sum())
        if self.unknown and len(self.examples) < 5:
            for value in np.unique(raw[:, unknown].T, axis=0)[:5].tolist():
                text = str(tuple(value)) if len(value) > 1 else str(value[0])
                if text not in self.examples and len(self.examples) < 5:
                    self.examples.append(text)

    def result(self, classes: int, shown: str) -> dict[str, Any]:
        """Return the statistics; raises UserError when they say that the raster is useless."""
        assert self.hash is not None
        digest = {"pixels_sha256": self.hash.hexdigest()}
        if self.stats is not None:
            if self.stats.count == 0:
                raise UserError(
                    f"{shown} has no valid pixel: replace it, or take the scene out of the source."
                )
            return {**self.stats.result(), **digest}
        share = self.unknown / self.pixels
        if share > UNKNOWN_SHARE:
            raise UserError(
                f"{shown}: {100 * share:.2f} % of the label pixels have a value that is no class "
                f"(first ones: {', '.join(self.examples)}): is this the right label file?"
            )
        result = self.counts.result(classes)
        if sum(result["counts"].values()) == result["counts"][str(IGNORE)]:
            raise UserError(
                f"{shown} has not one valid label pixel: replace it, or take the scene out of the source."
            )
        return {**result, **digest}

    def warnings(self, shown: str) -> list[str]:
        """Return what is worth saying about a raster that was accepted."""
        if not self.unknown:
            return []
        return [
            f"{shown}: {self.unknown} label pixels of unknown value ({', '.join(self.examples)}) are ignored"
        ]


def _check_bands(dataset: Any, job: RasterJob, shown: str) -> None:
    if (job.file_bands and dataset.count not in job.file_bands) or dataset.count < max(job.bands):
        expected = " or ".join(map(str, job.file_bands)) or f"at least {max(job.bands)}"
        remedy = ": a re-encoded copy? Use the original label" if job.kind == "label" else ""
        raise UserError(f"{shown} has {dataset.count} band(s), expected {expected}{remedy}.")
    dtypes = {dataset.dtypes[band - 1] for band in job.bands}
    if job.file_dtypes and not dtypes <= set(job.file_dtypes):
        raise UserError(
            f"{shown} has data type {', '.join(sorted(dtypes))}, expected {' or '.join(job.file_dtypes)}."
        )


def _check_size(
    size: tuple[int, int], expected: tuple[int, int], shown: str, reference: str
) -> None:
    if any(abs(a - b) > SIZE_TOLERANCE for a, b in zip(size, expected, strict=True)):
        raise UserError(
            f"{shown} has {size[0]} x {size[1]} pixels (rows x columns), but {reference} has {expected[0]} x "
            f"{expected[1]}: they do not cover the same ground; replace the wrong one."
        )


def _may_stay(dataset: Any, job: RasterJob, height: int, width: int) -> bool:
    return (
        job.stay
        and job.source.member is None
        and job.decode is None
        and job.kind != "label"
        and job.bands == tuple(range(1, len(job.bands) + 1))  # further ones are not read
        and set(dataset.dtypes) == {job.dtype}
        and (dataset.height, dataset.width) == (height, width)
        and max(height, width) <= STAY_SIDE
        and dataset.driver in ("GTiff", "PNG")
    )


def _blocks(
    dataset: Any, job: RasterJob, height: int, width: int, sink: _Sink, reference: str
) -> Iterator[np.ndarray]:
    """Yield the raster as it is stored, C x at most ROWS x width at a time, telling the sink about each block."""
    from rasterio.windows import Window

    if job.whole:
        raw = _read(dataset, job, Window(0, 0, dataset.width, dataset.height))
        block = _decode(raw, job, sink)
        if job.resize:
            block = _nearest(block, height, width)
        _check_size(block.shape[1:], (height, width), job.source.origin, reference)
        block = _fit(block, height, width)
        for row in range(0, height, ROWS):
            sink.add(block[:, row : row + ROWS])
            yield block[:, row : row + ROWS]
        return
    columns = min(width, dataset.width)
    for row in range(0, height, ROWS):
        rows = min(ROWS, height - row)
        top = min(row, dataset.height - 1)  # rows below the file repeat its last one
        bottom = max(top + 1, min(row + rows, dataset.height))
        raw = _read(dataset, job, Window(0, top, columns, bottom - top))
        block = _fit(_decode(raw, job, sink), rows, width)
        sink.add(block)
        yield block


def _read(dataset: Any, job: RasterJob, window: Any) -> np.ndarray:
    from rasterio.errors import RasterioError

    try:
        return dataset.read(list(job.bands), window=window)
    except RasterioError as error:  # told apart here from failures of writing
        raise unreadable(job.source.origin, error) from error


def _decode(raw: np.ndarray, job: RasterJob, sink: _Sink) -> np.ndarray:
    if job.decode is None:
        return raw.astype(job.dtype, copy=False)
    decoded = job.decode(raw)
    if job.kind == "label":
        ids, unknown = decoded
        sink.add_unknown(raw, unknown)
        return ids[None]
    return decoded.astype(job.dtype, copy=False)


def _nearest(block: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize C x h x w by nearest neighbour: pixel i shows floor(i * old / new), the rule of common libraries."""
    rows = np.arange(height) * block.shape[1] // height
    columns = np.arange(width) * block.shape[2] // width
    return block[:, rows[:, None], columns[None, :]]


def _fit(block: np.ndarray, height: int, width: int) -> np.ndarray:
    """Crop, or repeat the last row and column, to `height` x `width` (dossier 12.2)."""
    block = block[:, :height, :width]
    lacking = (height - block.shape[1], width - block.shape[2])
    if any(lacking):
        block = np.pad(block, ((0, 0), (0, lacking[0]), (0, lacking[1])), mode="edge")
    return block


def _write(
    target: Path, blocks: Iterator[np.ndarray], like: Any, job: RasterJob, height: int, width: int,
    classes: list[SceneClass],
) -> None:  # fmt: skip
    """Write the blocks as an uncompressed tiled GeoTIFF: under a temporary name, read back, flushed, renamed."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.stem}.{os.getpid()}.part")
    first = next(blocks)
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": len(first), "dtype": job.dtype,
        "tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "band", "bigtiff": "if_safer",
        "crs": like.crs, "transform": like.transform,
    }  # fmt: skip
    if like.transform.is_identity:
        del profile["transform"]  # the file had none
    checks: list[int] = []
    try:
        with _quiet(), rasterio.open(temporary, "w", **profile) as dataset:
            if job.kind == "label":
                dataset.write_colormap(1, {c.id: (*c.color, 255) for c in classes})
            row = 0
            for block in _chain(first, blocks):
                dataset.write(block, window=Window(0, row, width, block.shape[1]))
                checks.append(zlib.crc32(np.ascontiguousarray(block).data))
                row += block.shape[1]
        if not _reads_back(temporary, checks):
            raise _write_failed(target, "what was written does not read back")
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    except RasterioError as error:
        raise _write_failed(target, one_line(error)) from error
    except OSError as error:
        if error.errno in FULL_DISK:
            raise _write_failed(target, one_line(error)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _reads_back(path: Path, checks: list[int]) -> bool:
    """Tell whether the file holds the blocks: one cut short by a full disk can open without an error."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    try:
        with _quiet(), rasterio.open(path) as dataset:
            for i, check in enumerate(checks):
                rows = min(ROWS, dataset.height - i * ROWS)
                if (
                    zlib.crc32(dataset.read(window=Window(0, i * ROWS, dataset.width, rows)))
                    != check
                ):
                    return False
    except RasterioError:
        return False
    return True


class DiskFullError(UserError):
    """The store cannot grow any more: going on with other rasters makes no sense."""


def _write_failed(target: Path, reason: str) -> DiskFullError:
    import shutil

    free = shutil.disk_usage(target.parent).free / 1e6
    return DiskFullError(
        f"{target} could not be written whole ({reason}; {free:.0f} MB free): make room, or lift the limit on file "
        "sizes, and run the same command again; it goes on where it stopped."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence GDAL's log lines and the warning about missing coordinates; failures still arrive as exceptions."""
    import logging

    from rasterio.errors import NotGeoreferencedWarning

    logger = logging.getLogger("rasterio")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    finally:
        logger.setLevel(level)


def _chain(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest


def _metres(dataset: Any) -> float | None:
    """Return the side of a pixel in metres where the coordinate system is metric, else None."""
    if dataset.crs is None or not dataset.crs.is_projected or dataset.transform.is_identity:
        return None
    try:
        return abs(dataset.transform.a) * float(dataset.crs.linear_units_factor[1])
    except Exception:  # a coordinate system without a known unit
        return None
