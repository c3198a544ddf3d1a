"""The user's own rasters: a folder (or zip file) with `scenes.csv` and `classes.csv`.

scenes.csv, one row per scene:
    id, split               split is train, val, test or unused; further columns split_<name> are other splits
    one column per modality, `label`, optionally `label_eroded`: paths relative to scenes.csv (or absolute)
    condition_<name>        text by which evaluation reports separately, for example the weather
    any other column        kept as an attribute, if none of its cells looks like a raster path
classes.csv, one row per class:
    id, name, r, g, b       id as in the label rasters; 255 (and any negative label value) means ignore
    clutter                 optional, 1 for a class that is often left out of training and averages
about.json, optional: see `about`

An empty cell of a raster column says that the scene lacks this modality: an error, unless gaps are allowed.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from typing import Any

import numpy as np

from datamodules.adapters.dataset_card import read_about
from datamodules.ingest.plan import (
    Adapter,
    ImportOptions,
    ImportPlan,
    Missing,
    RasterJob,
    ScenePlan,
    share_out,
)
from datamodules.ingest.sources import SourceFile, SourceIndex, peek, sizes
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
KINDS = (
    "optical",
    "height_absolute",
    "height_normalised",
    "sar",
    "sar_linear",
    "depth",
    "event",
    "lidar",
    "other",
)
LABELS = ("label", "label_eroded")
RASTER_SUFFIX = re.compile(r".*\.(tiff?|png|jpe?g|bmp|jp2)$", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")  # but tab and line ends
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*$")
STORED = ("uint8", "uint16", "int16", "float32")  # any other type is stored as float32


@dataclass
class Table:
    """scenes.csv, sorted into kinds of columns."""

    file: SourceFile
    rows: list[dict[str, str]]
    modalities: list[str]
    labels: list[str]
    splits: dict[str, str]  # column of the store -> column of the file
    conditions: dict[str, str]
    attributes: dict[str, str] = field(default_factory=dict)


def plan_folder(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Return the import plan of a folder with scenes.csv and classes.csv; raises UserError, see the module."""
    table = _read_table(index)
    classes, ids = _read_classes(index, table.file.folder)
    about = read_about(index, table.file.folder)
    rows = _selected(table, options)
    files, missing = _find_files(index, table, rows)
    modalities = _modalities(table, files, about)
    form = {m.name: m for m in modalities}
    scenes = []
    for row in rows:
        have = files[row["id"]]
        if "label" not in have or not any(m in have for m in table.modalities):
            continue
        jobs = {raster: _job(raster, file, form, ids) for raster, file in have.items()}
        splits = {column: row[source] for column, source in table.splits.items()}
        attributes = {
            name: row[column] for name, column in (table.conditions | table.attributes).items()
        }
        reference = next(m for m in table.modalities if m in have)
        scenes.append(ScenePlan(row["id"], splits, jobs, reference, attributes))
    plan = ImportPlan(
        title=about.get("title", index.root.stem),
        licence=about.get("licence", "not stated"),
        citation=about.get("citation", ""),
        classes=classes,
        modalities=[replace(m, dtype=_stored(m.dtype)) for m in modalities],
        labels=table.labels,
        splits={
            column: tuple(
                part
                for part in PARTS
                if part in {row[source] for row in table.rows} | {"train", "test"}
            )
            for column, source in table.splits.items()
        },
        scenes=scenes,
        gsd_m=about.get("gsd_m"),
        nadir=about.get("nadir", True),
        conditions=list(table.conditions),
        attributes=[*table.conditions, *table.attributes],
        missing=missing,
    )
    plan.inventory = _inventory(index, table, rows, files)
    return plan


def _csv(file: SourceFile, needed: Iterable[str]) -> list[dict[str, str]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file.origin} is not UTF-8 text: save it as CSV in UTF-8.") from error
    if CONTROL.search(text):
        raise UserError(
            f"{file.origin} holds characters that are no text: save it as CSV in UTF-8."
        )
    try:
        table = list(csv.reader(io.StringIO(text, newline=None), skipinitialspace=True)) or [[]]
    except csv.Error as error:
        raise UserError(f"{file.origin} is no CSV table ({error}).") from error
    if any("\n" in cell for row in table for cell in row):
        raise UserError(
            f"{file.origin}: a cell holds a line break: is a quotation mark not closed?"
        )
    names = [name.strip() for name in table[0]]
    lacking = [column for column in needed if column not in names]
    if lacking:
        have = ", ".join(names) or "nothing"
        raise UserError(f"{file.origin} lacks the column(s) {', '.join(lacking)}; it has: {have}.")
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"{file.origin} has the column {repeated[0]!r} more than once.")
    rows = []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise UserError(
                f"{file.origin}, line {number}: {len(cells)} cells, but the header has {len(names)}."
            )
        rows.append({name: cell.strip() for name, cell in zip(names, cells, strict=True)})
    if not rows:
        raise UserError(f"{file.origin} has no rows below its header.")
    return rows


def _one(index: SourceIndex, name: str, folder: str | None = None) -> SourceFile | None:
    if folder is not None:
        return index.get(str(PurePosixPath(folder) / name))
    return index.find(re.compile(re.escape(name) + "$"), lambda match: name).get(name)


def _read_table(index: SourceIndex) -> Table:
    file = _one(index, "scenes.csv")
    if file is None:
        raise UserError(
            f"No scenes.csv below {index.root} ({len(index.files)} files looked at). {ADAPTER.obtain}"
        )
    rows = _csv(file, ("id", "split", "label"))
    table = Table(file, rows, [], [], {"split_standard": "split"}, {})
    for column in rows[0]:
        cells = [row[column] for row in rows]
        if column in ("id", "split"):
            continue
        if column.startswith("split_"):
            table.splits[column] = column
        elif column.startswith("condition_"):
            table.conditions[column.removeprefix("condition_")] = column
        elif not any(cells):
            raise UserError(
                f"{file.origin}: the column {column!r} has no file in any scene: fill it or take it out."
            )
        elif column in LABELS:
            table.labels.append(column)
        elif any(RASTER_SUFFIX.match(cell) for cell in cells):
            table.modalities.append(column)
        else:
            table.attributes[column] = column
    if not table.modalities:
        raise UserError(
            f"{file.origin} has no column with raster paths beside {', '.join(table.labels)}."
        )
    _check_rows(table)
    return table


def _check_rows(table: Table) -> None:
    where = table.file.origin
    for name in (*table.modalities, *table.splits, *table.conditions, *table.attributes):
        if not NAME.match(name) or name.endswith("_sha256") or name in ("height", "width"):
            raise UserError(
                f"{where}: {name!r} is no usable column name (letters, digits, `_`, `-`, `.`)."
            )
    for id_, n in Counter(row["id"] for row in table.rows).items():
        if n > 1:
            raise UserError(f"{where}: the id {id_!r} occurs {n} times: ids must be unique.")
        if not all(NAME.match(part) for part in id_.split("/")):
            raise UserError(
                f"{where}: {id_!r} is no usable id (letters, digits, `_-+.`, and `/` between parts)."
            )
    for column in table.splits.values():
        for row in table.rows:
            if row[column] not in SPLIT_VALUES:
                valid = ", ".join(SPLIT_VALUES)
                raise UserError(
                    f"{where}: scene {row['id']}: {column} is {row[column]!r}, not one of {valid}."
                )
    for column in (*table.modalities, *table.labels):
        for row in table.rows:
            if row[column] and not RASTER_SUFFIX.match(row[column]):
                raise UserError(
                    f"{where}: scene {row['id']}: {column} is {row[column]!r}, which is no raster path."
                )


def _selected(table: Table, options: ImportOptions) -> list[dict[str, str]]:
    if options.tiles is None:
        return table.rows
    known = {row["id"]: row for row in table.rows}
    if unknown := [tile for tile in options.tiles if tile not in known]:
        raise UserError(
            f"{table.file.origin} has no scene {unknown[0]!r}; it has: {', '.join(known)}."
        )
    return [known[tile] for tile in options.tiles]


def _read_classes(index: SourceIndex, folder: str) -> tuple[list[SceneClass], tuple[int, ...]]:
    """Return the classes with ids contiguous from 0, and the values they have in the label rasters."""
    file = _one(index, "classes.csv", folder)
    if file is None:
        raise UserError(
            f"No classes.csv beside scenes.csv in {index.root / folder}. {ADAPTER.obtain}"
        )
    found: dict[int, SceneClass] = {}
    for row in _csv(file, ("id", "name", "r", "g", "b")):
        try:
            id_, color = int(row["id"]), (int(row["r"]), int(row["g"]), int(row["b"]))
        except ValueError as error:
            raise UserError(
                f"{file.origin}: class {row['name']!r}: id, r, g and b must be whole numbers."
            ) from error
        if id_ == IGNORE:
            continue
        if not 0 <= id_ < IGNORE or any(not 0 <= value <= 255 for value in color):
            raise UserError(
                f"{file.origin}: class {row['name']!r}: ids go from 0 to 254, colours from 0 to 255."
            )
        if id_ in found or row["name"] in {c.name for c in found.values()} or not row["name"]:
            raise UserError(
                f"{file.origin}: class {row['name']!r} (id {id_}): ids and names must be unique."
            )
        found[id_] = SceneClass(
            id_, row["name"], color, row.get("clutter", "").lower() in ("1", "true", "yes")
        )
    if len(found) < 2:
        raise UserError(f"{file.origin} has {len(found)} class(es); at least 2 are needed.")
    ids = tuple(sorted(found))
    return [
        SceneClass(i, found[v].name, found[v].color, found[v].clutter) for i, v in enumerate(ids)
    ], ids


def _find_files(
    index: SourceIndex, table: Table, rows: list[dict[str, str]]
) -> tuple[dict[str, dict[str, SourceFile]], list[Missing]]:
    files: dict[str, dict[str, SourceFile]] = {}
    missing = []
    for row in rows:
        have = files[row["id"]] = {}
        for raster in (*table.modalities, *table.labels):
            file = _resolve(index, table.file, row[raster]) if row[raster] else None
            if file is not None:
                have[raster] = file
            else:
                missing.append(
                    Missing(
                        row["id"], raster, row[raster] or f"(empty cell: {raster} of {row['id']})"
                    )
                )
    return files, missing


def _resolve(index: SourceIndex, table: SourceFile, cell: str) -> SourceFile | None:
    """Find the file a cell names: below the source, or wherever else on the disk the user points to."""
    cell = cell.replace("\\", "/")
    if (file := index.get(f"{table.folder}/{cell}")) is not None:
        return file
    path = (
        Path(cell).expanduser()
        if table.member is not None
        else table.path.parent / Path(cell).expanduser()
    )
    if not path.is_absolute() or not path.is_file():
        return None
    return SourceFile.on_disk(path, cell)


def _modalities(
    table: Table, files: dict[str, dict[str, SourceFile]], about: dict[str, Any]
) -> list[Modality]:
    taken = {KNOWN[name][0] for name in table.modalities if name in KNOWN}
    taken |= {
        fields["letter"] for fields in about.get("modalities", {}).values() if "letter" in fields
    }
    modalities = []
    for name in table.modalities:
        channels, dtype = _same_form(
            table, name, [have[name] for have in files.values() if name in have]
        )
        letter, kind, unit = KNOWN.get(name, ("", "other", "counts"))
        given = about.get("modalities", {}).get(name, {})
        letter, kind, unit = (
            given.get("letter", letter),
            given.get("kind", kind),
            given.get("unit", unit),
        )
        if kind not in KINDS:
            raise UserError(
                f"about.json: kind {kind!r} of {name} is unknown; known are {', '.join(KINDS)}."
            )
        if not letter:
            letter = next(
                c for c in name.upper() + ascii_uppercase if c in ascii_uppercase and c not in taken
            )
            taken.add(letter)
        elif len(letter) != 1 or letter not in ascii_uppercase:
            raise UserError(
                f"about.json: the letter of {name} is {letter!r}, not one capital letter."
            )
        modalities.append(Modality(name, letter, channels, dtype, unit, kind))
    return modalities


def _same_form(table: Table, name: str, files: list[SourceFile]) -> tuple[int, str]:
    """Return bands and data type of a column; they must be one in all scenes, a scaling cannot be guessed.

    Of packed files only the first is looked into here; the others are checked when they are read.
    """
    if not files:
        raise UserError(
            f"{table.file.origin}: none of the files of the column {name!r} exists: check the paths."
        )
    form = peek(files[0])
    for file in files[1:]:
        if file.member is None and (other := peek(file)) != form:
            raise UserError(
                f"{file.origin} has {other[0]} band(s) of {other[1]}, but {files[0].origin} has {form[0]} of "
                f"{form[1]}: {name} must be alike in all scenes."
            )
    if form[1].startswith("complex"):
        raise UserError(
            f"{files[0].origin} holds complex numbers: give amplitudes or decibels instead."
        )
    return form


def _job(
    raster: str, file: SourceFile, form: dict[str, Modality], ids: tuple[int, ...]
) -> RasterJob:
    if raster in LABELS:
        types = ("uint8", "uint16", "int16", "int32", "uint32", "int8", "int64", "uint64")
        return RasterJob(file, (1,), "uint8", "label", (1,), types, partial(decode_ids, ids=ids))
    modality = form[raster]
    bands = tuple(range(1, modality.channels + 1))
    stored = _stored(modality.dtype)
    return RasterJob(
        file, bands, stored, modality.kind, (modality.channels,), (modality.dtype,), stay=True
    )


def _stored(dtype: str) -> str:
    return dtype if dtype in STORED else "float32"


def decode_ids(values: np.ndarray, ids: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Map label values 1 x h x w to their positions in `ids`, 255 and negative ones to 255; see `RasterJob.decode`."""
    values = values[0]
    if (
        values.dtype == np.uint8
    ):  # a table: comparing a large raster with every class would cost the import a fifth
        decoded, unknown = decode_ids(np.arange(256, dtype=np.int16)[None, None], ids)
        return decoded[0][values], unknown[0][values]
    decoded = np.full(values.shape, IGNORE, np.uint8)
    known = (values == IGNORE) | (values < 0)
    for position, value in enumerate(ids):
        hit = values == value
        decoded[hit] = position
        known |= hit
    return decoded, ~known


def _inventory(
    index: SourceIndex,
    table: Table,
    rows: list[dict[str, str]],
    files: dict[str, dict[str, SourceFile]],
) -> list[str]:
    rasters = [*table.modalities, *table.labels]
    whole = sum(all(raster in have for raster in rasters) for have in files.values())
    lines = [f"{index.root}: {len(rows)} scenes, {whole} of them complete"]
    for raster in rasters:
        found = [have[raster] for have in files.values() if raster in have]
        lines.append(f"  {raster}: {len(found)} files, {sum(f.size for f in found) / 1e6:.1f} MB")
    first = table.modalities[0]
    lines.append("  sizes: " + sizes([have[first] for have in files.values() if first in have]))
    for column, source in table.splits.items():
        counts = Counter(row[source] for row in rows)
        lines.append(f"  {column}: " + share_out({value: counts[value] for value in SPLIT_VALUES}))
    return lines


ADAPTER = Adapter(
    name="folder",
    title="a folder of your own rasters",
    obtain=(
        "A folder of your own needs scenes.csv (columns id, split, label and one per modality, with raster paths "
        "relative to the file; split is train, val, test or unused) and classes.csv (columns id, name, r, g, b)."
    ),
    plan=plan_folder,
)
