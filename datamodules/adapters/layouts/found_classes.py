"""The classes of labels that no table describes: the values that the labels hold."""

import colorsys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.adapters.class_table import LABEL_TYPES, MAX_ID, ClassTable
from datamodules.ingest.sources import SourceFile
from datamodules.rasters.raster_file import open_raw
from datamodules.rasters.source_raster import SourceRaster
from datamodules.store.scene_store import IGNORE, SceneClass
from usererror import UserError

ADD_TABLE = "add a classes.csv (columns id, name, r, g, b)"
GOLDEN = (5**0.5 - 1) / 2  # steps of this length come nowhere near each other on a circle


def find_classes(files: Sequence[SourceFile]) -> ClassTable:
    """Look at every label and return a class `class_<value>` per value; raises UserError.

    255, negative values, NaN and what a file calls nodata are ignored.
    """
    values: set[int] = set()
    for file in files:
        values |= _values_of(file)
        if len(values) > IGNORE:
            many = f"{file.origin} and those before it hold more than {IGNORE} values"
            raise UserError(f"{many}: these are no labels, or {ADD_TABLE}.")
    if len(values) < 2:
        raise UserError(f"The labels hold the values {sorted(values)} only: {ADD_TABLE}.")
    classes = [
        SceneClass(number, f"class_{value}", _color(number))
        for number, value in enumerate(sorted(values))
    ]
    ids = dict(zip(sorted(values), range(len(values)), strict=True))
    # without colours: those of a palette in a label mean what its ids mean
    return ClassTable(classes, ids, {})


def _values_of(file: SourceFile) -> set[int]:
    with tempfile.TemporaryDirectory() as scratch:
        path = file.extract(Path(scratch))
        with open_raw(path, file.origin) as dataset:
            raster = SourceRaster(dataset, file.origin, label=True)
            if raster.count != 1:
                bands = f"{file.origin} has {raster.count} bands, which may be colours"
                raise UserError(f"{bands}: {ADD_TABLE}.")
            if not raster.dtypes <= {*LABEL_TYPES}:
                raise UserError(f"{file.origin} has data type {raster.dtype}, no class ids.")
            pixels, void = raster.read(0, 0, dataset.height, dataset.width)
    here = pixels[0] if void is None else pixels[0][~void]
    # NaN is neither
    found = np.unique(here[(here >= 0) & (here != IGNORE)])
    if found.size and (found[-1] > MAX_ID or (found != np.floor(found)).any()):
        raise UserError(f"{file.origin} holds {found[-1]:g}, no class id: {ADD_TABLE}.")
    return {int(value) for value in found}


def _color(number: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.7, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
