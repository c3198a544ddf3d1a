"""classes.csv of a folder of one's own rasters, and label rasters as it describes them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from datamodules.ingest.plan import RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.rasters.raster_file import one_line
from datamodules.splits.tables import Row, read_text_table
from datamodules.store.names import printable
from datamodules.store.scene_store import IGNORE, SceneClass
from usererror import UserError

WHOLE_NUMBERS = ("uint8", "uint16", "int16", "int32", "uint32", "int8", "int64", "uint64")
# GDAL and QGIS rasterise into floats unless told otherwise
LABEL_TYPES = (*WHOLE_NUMBERS, "float32", "float64")
TABLE = re.compile(r"(?i)classes\.csv$")
MAX_ID = 65535
YES, NO = ("1", "true", "yes"), ("0", "false", "no", "")
# a row with id 255 and one of these names says what 255 means anyway
IGNORED_NAMES = ("", "ignore", "ignored", "void", "no data", "nodata", "unlabeled", "unlabelled")
REMEDY = (
    "list them in classes.csv, those that mean no data with 1 in a column `ignore`, or replace "
    "the label file if it is the wrong one."
)
Color = tuple[int, int, int]
Decoded = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ClassTable:
    """The classes with ids contiguous from 0, and what stands for them in the label rasters."""

    classes: list[SceneClass]
    values: dict[int, int]  # id in the labels -> class, or 255 for an ignored one
    colors: dict[Color, int]

    def label_job(self, file: SourceFile) -> RasterJob:
        """Read class ids from one band, or colours from three; alpha counts as no data."""
        ids = partial(decode_class_ids, ids=tuple(self.values.items()))
        colors = partial(decode_colors, colors=tuple(self.colors.items()), ids=self._ids_of_grey)
        bands = (1, 2, 3)
        variants: dict[int, Any] = {3: (bands, colors), 4: (bands, colors)}
        return RasterJob.label(
            file,
            ids,
            file_bands=(1, 3, 4),
            file_dtypes=LABEL_TYPES,
            variants_by_band_count=variants,
            vet=partial(find_label_fault, values=self.values, colors=self.colors),
            unknown_remedy=REMEDY,
        )

    @property
    def _ids_of_grey(self) -> tuple[tuple[int, int], ...]:
        """Ids that three equal bands may hold, none where a grey colour is that of another."""
        for value, class_ in self.values.items():
            if self.colors.get((value, value, value), class_) != class_:
                return ()
        return tuple(self.values.items())


def read_class_table(index: SourceIndex, folder: str) -> ClassTable:
    """Read classes.csv in a folder of the source; raises UserError."""
    found_files = [file for file, _ in index.match_names(TABLE) if file.folder == folder]
    if len(found_files) != 1:
        place = index.root / folder
        raise UserError(
            f"No classes.csv beside scenes.csv in {place}: add one (columns id, name, r, g, b)."
        )
    file = found_files[0]
    found: dict[int, SceneClass] = {}
    ignored: dict[int, Color | None] = {}
    names = set()
    for row in read_rows(file, ("id", "name", "r", "g", "b")):
        where, name = f"{file.origin}: class {row['name']!r}", row["name"]
        is_ignored = _is_yes(row, "ignore", where)
        try:
            id_ = int(row["id"])
            is_ignored |= id_ == IGNORE and name.lower() in IGNORED_NAMES
            color = None
            if not is_ignored or row["r"]:
                color = int(row["r"]), int(row["g"]), int(row["b"])
        except ValueError as error:
            raise UserError(f"{where}: id, r, g and b must be whole numbers.") from error
        is_color = color is None or (min(color) >= 0 and max(color) <= 255)
        if not 0 <= id_ <= MAX_ID or not is_color:
            raise UserError(f"{where}: ids go from 0 to {MAX_ID}, colours from 0 to 255.")
        if id_ in found or id_ in ignored or (name in names or not name) and not is_ignored:
            raise UserError(f"{where} (id {id_}): ids and names must be unique.")
        if is_ignored:
            ignored[id_] = color
        elif color is not None:
            found[id_] = SceneClass(id_, name, color, _is_yes(row, "clutter", where))
            names.add(name)
    if not 2 <= len(found) <= IGNORE:
        wrong = f"{len(found)} class(es); at least 2 and at most {IGNORE} are needed"
        raise UserError(f"{file.origin} has {wrong}.")
    ids = sorted(found)
    # networks output contiguous numbers
    classes = [replace(found[value], id=position) for position, value in enumerate(ids)]
    values = dict(zip(ids, range(len(ids)), strict=True)) | dict.fromkeys(ignored, IGNORE)
    return ClassTable(classes, values, _class_colors(classes, ignored.values()))


def _class_colors(classes: list[SceneClass], ignored: Iterable[Color | None]) -> dict[Color, int]:
    colors: dict[Color, int] = {}
    twice = set()
    for class_ in classes:
        if class_.color in colors:
            twice.add(class_.color)
        colors[class_.color] = class_.id
    for color in ignored:
        if color is not None:
            colors.setdefault(color, IGNORE)
    # labels as ids need no colours of their own, labels as colours do
    for color in twice:
        del colors[color]
    return colors


def read_rows(file: SourceFile, needed: Iterable[str]) -> list[Row]:
    """Read a table of the user that must have certain columns; raises UserError."""
    try:
        columns, rows = read_text_table(file.read_bytes())
    except UnicodeError as error:
        raise UserError(f"{file.origin} is not UTF-8 text: save it as CSV in UTF-8.") from error
    except ValueError as error:
        raise UserError(f"{file.origin} is no CSV table ({one_line(error)}).") from error
    if not columns:
        raise UserError(f"{file.origin} is no CSV table (it is empty).")
    lacking = [column for column in needed if column not in columns]
    if lacking:
        have = printable(", ".join(columns))
        raise UserError(f"{file.origin} lacks the column(s) {', '.join(lacking)}; it has: {have}.")
    if not rows:
        raise UserError(f"{file.origin} has no rows below its header.")
    return rows


def _is_yes(row: Row, column: str, where: str) -> bool:
    said = row.get(column, "").lower()
    if said not in (*YES, *NO):
        raise UserError(f"{where}: {column} is {said!r}: write 1 for yes, 0 or nothing for no.")
    return said in YES


def find_label_fault(dataset: Any, values: dict[int, int], colors: dict[Color, int]) -> str:
    """Return what makes an open label say something else than it seems to, "" for nothing."""
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    lossy = structure.get("COMPRESSION_REVERSIBILITY", "").startswith("LOSSY")
    if lossy or dataset.driver == "JPEG" or "JPEG" in structure.get("COMPRESSION", "").split():
        # neighbouring ids would be other classes, not unknown values
        return "its compression changes values: save the label without loss (PNG or deflated TIFF)"
    if dataset.count > 1 or dataset.colorinterp[0].name != "palette":
        return ""
    for value, color in dataset.colormap(1).items():
        painted = colors.get(color[:3])
        # entries that nobody filled are black
        if any(color[:3]) and value in values and painted not in (None, values[value]):
            said = f"its palette paints the value {value} as (r, g, b) = {color[:3]}"
            remedy = "correct the ids, or save the label as colours, three bands"
            return f"{said}, which is another class in classes.csv: {remedy}"
    return ""


def decode_class_ids(values: np.ndarray, ids: tuple[tuple[int, int], ...]) -> Decoded:
    """Map label values (1, h, w) to classes by pairs (value, class); see `RasterJob.decode`.

    Negative values and NaN are ignored, 255 too unless it is listed.

    Example:
        >>> found, unknown = decode_class_ids(np.array([[[7, 2, -1, 9]]]), ids=((2, 0), (7, 1)))
        >>> found.tolist(), unknown.tolist()
        ([[1, 0, 255, 255]], [[False, False, False, True]])
    """
    values = values[0]
    if values.dtype == np.uint8:
        # a table: comparing a large raster with every class would cost the import a fifth
        decoded, unknown = decode_class_ids(np.arange(256, dtype=np.int16)[None, None], ids)
        return decoded[0][values], unknown[0][values]
    decoded = np.full(values.shape, IGNORE, np.uint8)
    known = (values == IGNORE) | (values < 0) | np.isnan(values)
    for value, class_ in ids:
        hit = values == value
        decoded[hit] = class_
        known |= hit
    return decoded, ~known


def decode_colors(
    values: np.ndarray, colors: tuple[tuple[Color, int], ...], ids: tuple[tuple[int, int], ...]
) -> Decoded:
    """Map colours (3, h, w) to classes by pairs (colour, class), or three equal bands by `ids`.

    Example:
        >>> rgb = np.array([[[200, 0]], [[30, 0]], [[30, 9]]])
        >>> found, unknown = decode_colors(rgb, colors=(((200, 30, 30), 1),), ids=())
        >>> found.tolist(), unknown.tolist()
        ([[1, 255]], [[False, True]])
    """
    decoded = np.full(values.shape[1:], IGNORE, np.uint8)
    known = np.zeros(values.shape[1:], bool)
    if ids and (values == values[:1]).all():
        decoded, unknown = decode_class_ids(values[:1], ids)
        known = ~unknown
    for color, class_ in colors:
        hit = (values == np.array(color)[:, None, None]).all(axis=0)
        decoded[hit] = class_
        known |= hit
    return decoded, ~known
