"""Arrays of an `.npz` file that anybody may have written."""

import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# what a cut or altered file raises, and one whose header promises more than there is
DAMAGE = (
    *(KeyError, ValueError, TypeError, EOFError, OSError, MemoryError, OverflowError),
    *(RecursionError, NotImplementedError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
# unpacked; DELIVER's counts by scene take 0.2 GB
MOST_BYTES = 1 << 30
MOST_PIXELS = 1 << 60  # so that sums of a record fit into int64
Array = npt.NDArray[Any]


def read_arrays(path: Path, names: Iterable[str] = ()) -> dict[str, Array]:
    """Read the arrays of these names, or all; `DAMAGE` if that cannot be."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"{size / 1e9:.0f} GB unpacked, more than {MOST_BYTES / 1e9:.0f} GB")
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in names or file.files}
    for name, array in found.items():
        # what is no array comes as the bytes that it is
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")
    return found


def check_counts(array: Array) -> Array:
    """Return whole numbers that are not negative; a ValueError for any others."""
    if array.dtype.kind not in "biu":
        raise ValueError(f"counts are whole numbers, not {array.dtype}")
    # in floating point, since the sum itself may be too large
    if array.size and (array.min() < 0 or array.sum(dtype=np.float64) > MOST_PIXELS):
        raise ValueError("counts are negative or too large")
    return array


def as_names(array: Array) -> tuple[str, ...]:
    """Return the names along an axis, each once; a ValueError for anything else."""
    if array.dtype.kind != "U" or array.ndim != 1 or len(set(array.tolist())) < len(array):
        raise ValueError("an axis has one name for each of its places")
    return tuple(array.tolist())
