"""`reliability.npz` of a record: confidences and changed pixels of its test, in whole numbers."""

from dataclasses import fields

import numpy as np

from benchmark.metrics.confusion import scored_pixels
from benchmark.metrics.reliability import UNIT, ReliabilityCounts, check_reliability
from benchmark.records.arrays import DAMAGE, as_names, check_counts, read_arrays
from benchmark.records.record import RELIABILITY, Record, write_npz
from usererror import UserError

SUMS = [field.name for field in fields(ReliabilityCounts) if field.name != "subsets"]


def write_reliability(record: Record, counts: ReliabilityCounts) -> None:
    """Write the counts of a record's test beside its confusion counts.

    Raises:
        ValueError: if they are not of the pixels that the record scores.
    """
    _check(record, counts)
    arrays = {name: getattr(counts, name) for name in SUMS}
    names = {"subsets": np.array(counts.subsets, dtype=str), "unit": np.array(UNIT)}
    write_npz(record.path / RELIABILITY, names | arrays)


def read_reliability(record: Record) -> ReliabilityCounts | None:
    """Read the counts that `write_reliability` wrote; None where there are none.

    Raises:
        UserError: if they are damaged, or of other counts than the record's.
    """
    path = record.path / RELIABILITY
    try:
        arrays = read_arrays(path, ("subsets", "unit", *SUMS))
        sums = {name: check_counts(arrays[name]).astype(np.int64) for name in SUMS}
        counts = ReliabilityCounts(as_names(arrays["subsets"]), **sums)
        if arrays["unit"] != UNIT:
            raise ValueError("its sums are in another unit")
        _check(record, counts)
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        again = "make it again with: make reliability RUN=..."
        raise UserError(f"{path} is damaged or of another record ({error}); {again}") from error
    return counts


def _check(record: Record, counts: ReliabilityCounts) -> None:
    if counts.subsets != record.subsets:
        raise ValueError("its subsets are others than the record's")
    check_reliability(counts, *scored_pixels(record.matrices(), record.convention))
