"""scenes.csv of a folder of one's own rasters, sorted into kinds of columns.

What could be meant in two ways is asked: one line that names the cell and the remedy.
"""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.adapters.class_table import read_rows
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import Row
from datamodules.store.scene_store import SPLIT_VALUES
from usererror import UserError

KNOWN = {  # name: letter, kind, unit
    "rgb": ("R", "optical", "counts"),
    "irrg": ("I", "optical", "counts"),
    "nir": ("N", "optical", "counts"),
    "dsm": ("D", "height_absolute", "m"),
    "ndsm": ("D", "height_normalised", "m"),
    "sar": ("S", "sar", "dB"),
    "depth": ("D", "depth", "counts"),
    "event": ("E", "event", "counts"),
    "lidar": ("L", "lidar", "counts"),
}
LABELS = ("label", "label_eroded")
RASTER_SUFFIX = re.compile(r"(?i).*\.(tiff?|png|jpe?g|bmp|jp2)$")
# a folder and a name, or a name with the ending of some file
LIKE_A_FILE = re.compile(
    r"(?i)(?!https?:)(.*[^\s/\\][/\\][\w.+-]+\.[a-z]\w{0,4}|[\w+-]+\.[a-z]\w{1,4})$"
)
LONGEST_PATH = 260
TABLE = re.compile(r"(?i)scenes\.csv$")
# of a spreadsheet, or with the ending that Windows adds
OTHER_TABLE = re.compile(r"(?i)scenes(\.xlsx?|\.ods|\.numbers|\.tsv|\.txt|\.csv\.txt)?$")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*$")
CHARACTERS = "letters, digits, `_-+.`"
OWN_COLUMNS = ("id", "height", "width")  # of the table that the store writes
READ_FORMATS = "TIFF, PNG, JPEG, JPEG 2000 or BMP"
FORM = (
    "A folder of your own needs scenes.csv (columns id, split, label and one per modality, "
    "with raster paths relative to the file; split is train, val, test or unused) and "
    "classes.csv (columns id, name, r, g, b), or folders that LAYOUT=mmseg or torchgeo reads."
)


@dataclass
class SceneTable:
    """scenes.csv, sorted into kinds of columns."""

    file: SourceFile
    rows: list[Row]
    modalities: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)  # column of the store -> of the file
    conditions: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    gap: str = "empty cell"  # what stands where a scene lacks a raster

    @property
    def rasters(self) -> list[str]:
        """Columns with raster paths."""
        return [*self.modalities, *self.labels]


def read_scene_table(index: SourceIndex) -> SceneTable:
    """Read scenes.csv and tell its columns apart; raises UserError for what cannot be meant."""
    file = _only_table(index)
    return sort_columns(index, SceneTable(file, read_rows(file, ("id", "split", "label"))))


def sort_columns(index: SourceIndex, table: SceneTable) -> SceneTable:
    """Tell the columns of the rows apart; raises UserError for what cannot be meant."""
    file = table.file
    table.splits["split_standard"] = "split"
    for column in table.rows[0]:
        cells = [row[column] for row in table.rows]
        # the first rule that fits decides, so a condition never becomes a raster
        if column in ("id", "split") or not (column or any(cells)):
            continue
        if column.startswith("split_"):
            _add(table, table.splits, column, column)
        elif column.startswith("condition_"):
            _add(table, table.conditions, column.removeprefix("condition_"), column)
        elif column.startswith("attribute_"):
            _add(table, table.attributes, column.removeprefix("attribute_"), column)
        elif not any(cells):
            empty = f"{file.origin}: the column {column!r} has no file in any scene"
            raise UserError(f"{empty}: fill it or take it out.")
        elif column in LABELS:
            table.labels.append(column)
        elif column in KNOWN or any(map(RASTER_SUFFIX.match, cells)):
            table.modalities.append(column)
        else:
            _refuse_files(index, table, column, cells)
            _add(table, table.attributes, column, column)
    if not table.modalities:
        have = ", ".join(table.labels)
        raise UserError(f"{file.origin} has no column with raster paths beside {have}.")
    _check_names(table)
    for row in table.rows:
        _check_cells(table, row)
    return table


def resolve_path(index: SourceIndex, table: SourceFile, cell: str) -> SourceFile | None:
    """Find the file a cell names: below the source, or wherever else on the disk it points to."""
    # tables made on Windows
    cell = cell.replace("\\", "/")
    if (file := index.file_at(f"{table.folder}/{cell}")) is not None:
        return file
    # a text that cannot be a path leads nowhere: too long, or of a user who is not here
    with suppress(OSError, RuntimeError, ValueError):
        path = Path(cell).expanduser()
        if table.member is None:
            path = table.path.parent / path
        if path.is_absolute() and path.is_file():
            return SourceFile.on_disk(path, cell)
    return None


def _only_table(index: SourceIndex) -> SourceFile:
    found = [file for file, _ in index.match_names(TABLE)]
    # the one that lies in SOURCE itself is the one that is meant
    found = [file for file in found if file.folder == "."] or found
    if not found:
        among = f"below {index.root} ({len(index.files)} files looked at)"
        others = [file.rel for file, _ in index.match_names(OTHER_TABLE)]
        remedy = f" Save {others[0]} as scenes.csv." if others else ""
        raise UserError(f"No scenes.csv {among}.{remedy} {FORM}")
    if len(found) > 1:
        two = " and ".join(sorted(file.origin for file in found)[:2])
        remedy = "name the folder or archive of the one that is meant as SOURCE"
        raise UserError(f"SOURCE {index.root} holds {len(found)} tables, {two}: {remedy}.")
    return found[0]


def _add(table: SceneTable, kind: dict[str, str], name: str, column: str) -> None:
    if (other := kind.get(name)) is not None:
        raise _meeting(table, other, column, name)
    kind[name] = column


def _meeting(table: SceneTable, one: str, other: str, name: str) -> UserError:
    both = f"the columns {one!r} and {other!r} are both {name!r} in the store"
    return UserError(f"{table.file.origin}: {both}: rename one.")


def _refuse_files(index: SourceIndex, table: SceneTable, column: str, cells: list[str]) -> None:
    """Refuse text that names files of a kind that is not read: the modality would be lost."""
    for cell in cells:
        if cell and (
            LIKE_A_FILE.match(cell[-LONGEST_PATH:]) or resolve_path(index, table.file, cell)
        ):
            what = f"{table.file.origin}: the column {column!r} holds {cell!r}, no {READ_FORMATS}"
            remedy = f"convert it (gdal_translate), or call the column 'attribute_{column}'"
            raise UserError(f"{what} file: {remedy} if it is a note and no raster.")


def _check_names(table: SceneTable) -> None:
    where = table.file.origin
    told = table.splits | table.conditions | table.attributes
    for name in (*table.modalities, *told):
        if not NAME.match(name):
            raise UserError(f"{where}: {name!r} is no usable column name ({CHARACTERS}).")
    _check_columns_of_store(table)
    for id_, n in Counter(row["id"] for row in table.rows).items():
        if not id_:
            raise UserError(f"{where}: a row has no id: fill it or take the row out.")
        if n > 1:
            raise UserError(f"{where}: the id {id_!r} occurs {n} times: ids must be unique.")
        # ids become folders of the store
        if not all(map(NAME.match, id_.split("/"))):
            raise UserError(
                f"{where}: {id_!r} is no usable id: rename it ({CHARACTERS}, `/` between)."
            )


def _check_columns_of_store(table: SceneTable) -> None:
    """Refuse columns that would overwrite each other in the table that the store writes."""
    taken = dict.fromkeys(OWN_COLUMNS, "")
    columns = [*table.splits.items(), *table.conditions.items(), *table.attributes.items()]
    for raster in table.rasters:
        columns += [(raster, raster), (f"{raster}_sha256", raster)]
    for name, column in columns:
        # files of the store get these names, and some disks know no capital letters
        other = taken.get(name.lower())
        if other == "":
            own = f"{name!r} is a column of the store itself"
            raise UserError(f"{table.file.origin}: {own}: rename the column {column!r}.")
        if other is not None:
            raise _meeting(table, other, column, name)
        taken[name.lower()] = column


def _check_cells(table: SceneTable, row: Row) -> None:
    where = f"{table.file.origin}: scene {row['id']}"
    for column in table.splits.values():
        # spreadsheets begin a word with a capital letter
        row[column] = row[column].lower()
        if row[column] not in SPLIT_VALUES:
            valid = ", ".join(SPLIT_VALUES)
            raise UserError(f"{where}: {column} is {row[column]!r}, not one of {valid}.")
    for column in table.rasters:
        cell = row[column]
        if cell.startswith("/vsi") or re.match(r"\w+://", cell):
            remedy = "give the path of a file on this machine"
            raise UserError(f"{where}: {column} is {cell!r}, no file on a disk: {remedy}.")
        if cell and not RASTER_SUFFIX.match(cell):
            no_path = f"{where}: {column} is {cell!r}, which is no raster path"
            raise UserError(f"{no_path} ({READ_FORMATS}).")
