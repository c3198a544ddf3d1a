"""Opening a raster file: is it an image, and is it whole?"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from usererror import UserError

# first bytes: GDAL driver; nothing else is opened, in particular no file that refers to others
SIGNATURES = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"\0\0\0\x0cjP": "JP2OpenJPEG",
}
END_MARKERS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9", "JP2OpenJPEG": b"\xff\xd9"}
FRESH_COPY = "replace it by a fresh copy"
TAIL = 65536  # some writers append a few bytes after the end marker


def mask_beside(path: Path) -> Path | None:
    """Return the file beside a raster that GDAL takes for its mask, None without one."""
    for suffix in (".msk", ".MSK"):
        mask = path.with_name(path.name + suffix)
        if mask.is_file():
            return mask
    return None


@contextmanager
def open_raw(path: Path, shown: str) -> Iterator[Any]:
    """Open a raster for reading its values as they are; `shown` is its name in errors."""
    # properties of a damaged file raise what GDAL says, which is no RasterioError
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        with open_dataset(path, shown) as dataset:
            yield dataset
    except (CPLE_BaseError, RasterioError) as error:
        raise unreadable_error(shown, error) from error


def open_dataset(path: Path, shown: str) -> Any:
    """Open a raster by the driver of its first bytes; nothing else on disk or network is opened."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    # world files and metadata are looked up by name, but a mask beside the raster is opened by
    # whatever driver fits, and a VRT there names any file or address
    beside = "EMPTY_DIR" if foreign_mask(path) else "TRUE"
    # half of these files raise this warning; what they lack is compared elsewhere
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=beside),
    ):
        try:
            return rasterio.open(path, driver=_find_driver(path, shown))
        except RasterioError as error:
            raise unreadable_error(shown, error) from error


def read_stored(dataset: Any, bands: list[int] | None, window: Any) -> np.ndarray:
    """Read bands (None: all) of a raster in a store, `(C, h, w)`.

    Floating values are NaN where they are void; whole numbers have a mask there, and then come as
    float32 with NaN.
    """
    pixels = dataset.read(bands, window=window)
    flags = {flag.name for flag in dataset.mask_flag_enums[0]}
    # other tags were asked at import: what is left of them in a file that stayed where it is says
    # nothing new
    if pixels.dtype.kind == "f" or flags != {"per_dataset"}:
        return pixels
    void = dataset.read_masks(1, window=window) == 0
    return np.where(void, np.float32(np.nan), pixels) if void.any() else pixels


def foreign_mask(path: Path) -> Path | None:
    """Return the mask file beside a raster if it is no TIFF: such a one is not opened."""
    if (mask := mask_beside(path)) is None:
        return None
    with mask.open("rb") as stream:
        return None if SIGNATURES.get(stream.read(4)) == "GTiff" else mask


def unreadable_error(shown: str, error: BaseException) -> UserError:
    """Return the error for a file that is of the right type and still cannot be decoded."""
    return UserError(f"{shown} cannot be read as an image ({one_line(error)}): {FRESH_COPY}.")


def check_intact(path: Path, shown: str, sparse: bool = True) -> None:
    """Raise UserError when the file is empty or cut short; `shown` is its name for the user.

    Checked first, because decoders silently fill truncated files. TIFF: every block must lie inside
    the file, or if it may be `sparse`, those that are stored; BMP: the size in its header; others:
    the end marker must be there. Damage inside the data is left to the decoder, which notices part
    of it (TIFF keeps no checksums).
    """
    driver = _find_driver(path, shown)
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        # the tail alone: a raster may be larger than the memory
        stream.seek(max(0, size - TAIL))
        tail = stream.read()
    if driver == "GTiff":
        whole = _is_tiff_whole(path, shown, size, sparse)
    elif driver == "BMP":
        whole = size >= int.from_bytes(head[2:6], "little")
    else:
        whole = END_MARKERS[driver] in tail
    if not whole:
        raise UserError(f"{shown} is cut short (an interrupted download?): {FRESH_COPY}.")


def one_line(error: BaseException) -> str:
    """Return the text of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _find_driver(path: Path, shown: str) -> str:
    with path.open("rb") as stream:
        head = stream.read(8)
    if not head:
        raise UserError(f"{shown} is empty (0 bytes): {FRESH_COPY}.")
    for signature, driver in SIGNATURES.items():
        if head.startswith(signature):
            return driver
    raise UserError(f"{shown} is no TIFF, PNG, JPEG, JPEG 2000 or BMP image: {FRESH_COPY}.")


def missing_blocks(dataset: Any) -> float:
    """Return the share of a TIFF's blocks that are not stored: GDAL reads them as nodata or 0."""
    offsets = [offset for offset, _ in _block_places(dataset)]
    return offsets.count(0) / len(offsets)


def _is_tiff_whole(path: Path, shown: str, size: int, sparse: bool) -> bool:
    with open_raw(path, shown) as dataset:
        # their places stand in the file, in two bytes each at least: a damaged header claims more
        if 2 * sum(down * across for _, down, across in _block_grids(dataset)) > size:
            return False
        ends = [offset + length for offset, length in _block_places(dataset)]
    # a sparse file lacks blocks on purpose, but not all of them
    return 0 < max(ends) <= size and (sparse or min(ends) > 0)


def _block_grids(dataset: Any) -> Iterator[tuple[int, int, int]]:
    """Yield band, blocks down and blocks across, of every band that has blocks of its own."""
    # pixel-interleaved blocks hold all bands
    separate = dataset.interleaving is not None and dataset.interleaving.name == "band"
    for band in dataset.indexes if separate else (1,):
        rows, columns = dataset.block_shapes[band - 1]
        yield band, -(-dataset.height // rows), -(-dataset.width // columns)


def _block_places(dataset: Any) -> Iterator[tuple[int, int]]:
    """Yield offset and length of every block of a TIFF; 0, 0 for one that is not stored."""
    for band, down, across in _block_grids(dataset):
        for y in range(down):
            for x in range(across):
                offset = dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                length = dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                yield int(offset or 0), int(length or 0)
