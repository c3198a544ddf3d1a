"""The user's own rasters: a folder (or zip file) with `scenes.csv` and `classes.csv`.

scenes.csv, one row per scene:
    id, split               split is train, val, test or unused; columns split_<name> are others
    one column per modality, `label`, optionally `label_eroded`: paths relative to scenes.csv
    condition_<name>        text by which evaluation reports separately, for example the weather
    any other column        kept as an attribute, if none of its cells looks like a raster path
classes.csv, one row per class:
    id, name, r, g, b       id as in the label rasters; 255 and negative label values mean ignore
    clutter                 optional, 1 for a class often left out of training and averages
about.json, optional: see `dataset_card`

An empty cell of a raster column says that the scene lacks this modality: an error, unless gaps are
allowed. The smallest source is

    my_town/scenes.csv      id,split,rgb,label
                            north,train,north.tif,north_label.png
                            south,test,south.tif,south_label.png
    my_town/classes.csv     id,name,r,g,b
                            0,ground,90,90,90
                            1,roof,200,30,30
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from string import ascii_uppercase

import numpy as np

from datamodules.adapters import planning
from datamodules.adapters.dataset_card import DatasetCard, ModalityCard, read_dataset_card
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan, RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex, read_raster_header
from datamodules.splits.tables import format_counts, read_text_table, table_rows
from datamodules.store.raster_file import one_line
from datamodules.store.scene_store import IGNORE, PARTS, SPLIT_VALUES, Modality, SceneClass
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
LABEL_TYPES = ("uint8", "uint16", "int16", "int32", "uint32", "int8", "int64", "uint64")
RASTER_SUFFIX = re.compile(r"(?i).*\.(tiff?|png|jpe?g|bmp|jp2)$")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*$")
CHARACTERS = "letters, digits, `_-+.`"
STORED = ("uint8", "uint16", "int16", "float32")  # any other type is stored as float32
Row = dict[str, str]


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

    @property
    def rasters(self) -> list[str]:
        """Columns with raster paths."""
        return [*self.modalities, *self.labels]


def plan_folder(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a folder with scenes.csv and classes.csv; raises UserError."""
    table = read_scene_table(index)
    classes, ids = read_class_table(index, table.file.folder)
    card = read_dataset_card(index, table.file.folder)
    every = {row["id"]: row for row in table.rows}
    known = dict(zip(every, every, strict=True))
    chosen = planning.select_tiles(options, known, str, table.file.origin)
    rows = {id_: every[id_] for id_ in chosen}
    files = {id_: _scene_files(index, table, row) for id_, row in rows.items()}
    modalities = _modalities(table, files, card)
    by_name = {modality.name: modality for modality in modalities}
    attributes = table.conditions | table.attributes
    jobs, splits, told = {}, {}, {}
    for id_, row in rows.items():
        have = files[id_]
        jobs[id_] = {raster: _raster_job(raster, have[raster], by_name, ids) for raster in have}
        splits[id_] = {column: row[source] for column, source in table.splits.items()}
        told[id_] = {name: row[column] for name, column in attributes.items()}
    what, first = str(index.root), table.modalities[0]
    inventory = planning.describe_source(what, "scenes", files, table.rasters, first)
    parts = {}
    for column, source in table.splits.items():
        counts = Counter(row[source] for row in rows.values())
        inventory.append(f"  {column}: {format_counts({v: counts[v] for v in SPLIT_VALUES})}")
        # train and test are needed whether the table has them or not
        values = {"train", "test"}.union(row[source] for row in table.rows)
        parts[column] = tuple(part for part in PARTS if part in values)

    def expected(raster: str, id_: str) -> str:
        return rows[id_][raster] or f"(empty cell: {raster} of {id_})"

    return ImportPlan(
        **card.or_else(index.root.stem, "not stated", ""),
        classes=classes,
        modalities=[replace(m, dtype=_stored_type(m.dtype)) for m in modalities],
        labels=table.labels,
        splits=parts,
        scenes=planning.plan_scenes(jobs, splits, table.modalities, "label", told),
        gsd_m=card.gsd_m,
        nadir=card.nadir is not False,
        conditions=list(table.conditions),
        attributes=list(attributes),
        missing=planning.missing_rasters(files, table.rasters, expected),
        inventory=inventory,
    )


def read_scene_table(index: SourceIndex) -> SceneTable:
    """Read scenes.csv and tell its columns apart; raises UserError for what cannot be meant."""
    file = index.find_files(re.compile(r"scenes\.csv$"), re.Match.group).get("scenes.csv")
    if file is None:
        among = f"below {index.root} ({len(index.files)} files looked at)"
        raise UserError(f"No scenes.csv {among}. {ADAPTER.obtain}")
    table = SceneTable(file, _read_rows(file, ("id", "split", "label")))
    table.splits["split_standard"] = "split"
    for column in table.rows[0]:
        cells = [row[column] for row in table.rows]
        if column in ("id", "split"):
            continue
        # the first rule that fits decides, so a condition never becomes a raster
        if column.startswith("split_"):
            table.splits[column] = column
        elif column.startswith("condition_"):
            table.conditions[column.removeprefix("condition_")] = column
        elif not any(cells):
            raise UserError(f"{file.origin}: the column {column!r} has no file in any scene.")
        elif column in LABELS:
            table.labels.append(column)
        elif any(map(RASTER_SUFFIX.match, cells)):
            table.modalities.append(column)
        else:
            table.attributes[column] = column
    if not table.modalities:
        have = ", ".join(table.labels)
        raise UserError(f"{file.origin} has no column with raster paths beside {have}.")
    _check_names(table)
    for row in table.rows:
        _check_cells(table, row)
    return table


def read_class_table(index: SourceIndex, folder: str) -> tuple[list[SceneClass], tuple[int, ...]]:
    """Return the classes with ids contiguous from 0, and the values they have in the labels."""
    file = index.file_at(str(PurePosixPath(folder) / "classes.csv"))
    if file is None:
        place = index.root / folder
        raise UserError(f"No classes.csv beside scenes.csv in {place}. {ADAPTER.obtain}")
    found: dict[int, SceneClass] = {}
    names = set()
    for row in _read_rows(file, ("id", "name", "r", "g", "b")):
        where, name = f"{file.origin}: class {row['name']!r}", row["name"]
        try:
            id_, color = int(row["id"]), (int(row["r"]), int(row["g"]), int(row["b"]))
        except ValueError as error:
            raise UserError(f"{where}: id, r, g and b must be whole numbers.") from error
        if id_ == IGNORE:
            continue
        if not 0 <= id_ < IGNORE or min(color) < 0 or max(color) > 255:
            raise UserError(f"{where}: ids go from 0 to 254, colours from 0 to 255.")
        if id_ in found or name in names or not name:
            raise UserError(f"{where} (id {id_}): ids and names must be unique.")
        clutter = row.get("clutter", "").lower() in ("1", "true", "yes")
        found[id_] = SceneClass(id_, name, color, clutter)
        names.add(name)
    if len(found) < 2:
        raise UserError(f"{file.origin} has {len(found)} class(es); at least 2 are needed.")
    ids = tuple(sorted(found))
    # networks output contiguous numbers
    return [replace(found[value], id=position) for position, value in enumerate(ids)], ids


def _read_rows(file: SourceFile, needed: Iterable[str]) -> list[Row]:
    try:
        table = read_text_table(BytesIO(file.read_bytes()))
    except UnicodeDecodeError as error:
        raise UserError(f"{file.origin} is not UTF-8 text: save it as CSV in UTF-8.") from error
    except ValueError as error:
        raise UserError(f"{file.origin} is no CSV table ({one_line(error)}).") from error
    lacking = [column for column in needed if column not in table.columns]
    if lacking:
        have = ", ".join(table.columns)
        raise UserError(f"{file.origin} lacks the column(s) {', '.join(lacking)}; it has: {have}.")
    if table.empty:
        raise UserError(f"{file.origin} has no rows below its header.")
    return table_rows(table)


def _check_names(table: SceneTable) -> None:
    where = table.file.origin
    for name in (*table.modalities, *table.splits, *table.conditions, *table.attributes):
        # height, width and checksums are columns of the store's own table
        if not NAME.match(name) or name.endswith("_sha256") or name in ("height", "width"):
            raise UserError(f"{where}: {name!r} is no usable column name ({CHARACTERS}).")
    for id_, n in Counter(row["id"] for row in table.rows).items():
        if n > 1:
            raise UserError(f"{where}: the id {id_!r} occurs {n} times: ids must be unique.")
        # ids become folders of the store
        if not all(map(NAME.match, id_.split("/"))):
            raise UserError(f"{where}: {id_!r} is no usable id ({CHARACTERS}, `/` between parts).")


def _check_cells(table: SceneTable, row: Row) -> None:
    where = f"{table.file.origin}: scene {row['id']}"
    for column in table.splits.values():
        if row[column] not in SPLIT_VALUES:
            valid = ", ".join(SPLIT_VALUES)
            raise UserError(f"{where}: {column} is {row[column]!r}, not one of {valid}.")
    for column in table.rasters:
        if row[column] and not RASTER_SUFFIX.match(row[column]):
            raise UserError(f"{where}: {column} is {row[column]!r}, which is no raster path.")


def _scene_files(index: SourceIndex, table: SceneTable, row: Row) -> dict[str, SourceFile]:
    found = {}
    for raster in table.rasters:
        if row[raster] and (file := _resolve_path(index, table.file, row[raster])):
            found[raster] = file
    return found


def _resolve_path(index: SourceIndex, table: SourceFile, cell: str) -> SourceFile | None:
    """Find the file a cell names: below the source, or wherever else on the disk it points to."""
    # tables made on Windows
    cell = cell.replace("\\", "/")
    if (file := index.file_at(f"{table.folder}/{cell}")) is not None:
        return file
    path = Path(cell).expanduser()
    if table.member is None:
        path = table.path.parent / path
    if not path.is_absolute() or not path.is_file():
        return None
    return SourceFile.on_disk(path, cell)


def _modalities(
    table: SceneTable, files: dict[str, dict[str, SourceFile]], card: DatasetCard
) -> list[Modality]:
    """Return the modalities, in the type of their files."""
    # letters make the names of subsets, so none may stand for two modalities
    taken = {KNOWN[name][0] for name in table.modalities if name in KNOWN}
    taken.update(said.letter for said in card.modalities.values() if said.letter)
    modalities = []
    for name in table.modalities:
        of_scenes = [have[name] for have in files.values() if name in have]
        channels, dtype = _common_form(table, name, of_scenes)
        letter, kind, unit = KNOWN.get(name, ("", "other", "counts"))
        said = card.modalities.get(name, ModalityCard())
        letter = said.letter or letter
        if not letter:
            wishes = [c for c in name.upper() + ascii_uppercase if c in ascii_uppercase]
            letter = next(wish for wish in wishes if wish not in taken)
            taken.add(letter)
        kind, unit = said.kind or kind, said.unit or unit
        modalities.append(Modality(name, letter, channels, dtype, unit, kind))
    return modalities


def _common_form(table: SceneTable, name: str, files: Sequence[SourceFile]) -> tuple[int, str]:
    """Return bands and data type of a column, which must be one: a scaling cannot be guessed."""
    if not files:
        raise UserError(f"{table.file.origin}: none of the files of the column {name!r} exists.")
    form = read_raster_header(files[0])
    for file in files[1:]:
        # packed files are checked when they are read: unpacking all twice would cost too much
        if file.member is None and (other := read_raster_header(file)) != form:
            this = f"{file.origin} has {other[0]} band(s) of {other[1]}"
            first = f"{files[0].origin} has {form[0]} of {form[1]}"
            raise UserError(f"{this}, but {first}: {name} must be alike in all scenes.")
    if form[1].startswith("complex"):
        raise UserError(f"{files[0].origin} holds complex numbers: give amplitudes or decibels.")
    return form


def _raster_job(
    raster: str, file: SourceFile, modalities: dict[str, Modality], ids: tuple[int, ...]
) -> RasterJob:
    if raster in LABELS:
        decode = partial(decode_class_ids, ids=ids)
        return RasterJob.label(file, decode, file_bands=(1,), file_dtypes=LABEL_TYPES)
    modality = modalities[raster]
    channels, dtype = modality.channels, modality.dtype
    bands, stored = tuple(range(1, channels + 1)), _stored_type(dtype)
    return RasterJob(file, bands, stored, modality.kind, (channels,), (dtype,), may_reference=True)


def _stored_type(dtype: str) -> str:
    # wider types cost disk and say nothing more
    return dtype if dtype in STORED else "float32"


def decode_class_ids(values: np.ndarray, ids: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Map label values (1, h, w) to their positions in `ids`; see `RasterJob.decode`.

    Example:
        >>> found, unknown = decode_class_ids(np.array([[[7, 2, -1, 9]]]), ids=(2, 7))
        >>> found.tolist(), unknown.tolist()
        ([[1, 0, 255, 255]], [[False, False, False, True]])
    """
    values = values[0]
    if values.dtype == np.uint8:
        # a table: comparing a large raster with every class would cost the import a fifth
        decoded, unknown = decode_class_ids(np.arange(256, dtype=np.int16)[None, None], ids)
        return decoded[0][values], unknown[0][values]
    decoded = np.full(values.shape, IGNORE, np.uint8)
    known = (values == IGNORE) | (values < 0)
    for position, value in enumerate(ids):
        hit = values == value
        decoded[hit] = position
        known |= hit
    return decoded, ~known


ADAPTER = Adapter(
    name="folder",
    title="a folder of your own rasters",
    obtain=(
        "A folder of your own needs scenes.csv (columns id, split, label and one per modality, "
        "with raster paths relative to the file; split is train, val, test or unused) and "
        "classes.csv (columns id, name, r, g, b)."
    ),
    plan=plan_folder,
)
