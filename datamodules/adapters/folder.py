"""The user's own rasters: a folder (or zip file) with `scenes.csv` and `classes.csv`.

scenes.csv, one row per scene:
    id, split               split is train, val, test or unused; columns split_<name> are others
    one column per modality, `label`, optionally `label_eroded`: paths relative to scenes.csv
    condition_<name>        text by which evaluation reports separately, for example the weather
    attribute_<name>        text that is kept; so is any other column whose cells name no files
classes.csv, one row per class:
    id, name, r, g, b       id as in the label rasters; labels may hold the colours instead of ids
    clutter                 optional, 1 for a class often left out of training and averages
    ignore                  optional, 1 for a value that means no data and no class; negative
                            values and NaN are ignored, 255 too unless it is listed as a class
about.json, optional, beside them: see `dataset_card`
Cells may be parted by commas, semicolons or tabs.

An empty cell of a raster column says that the scene lacks this modality: an error, unless gaps are
allowed. The smallest source is

    my_town/scenes.csv      id,split,rgb,label
                            north,train,north.tif,north_label.png
                            south,test,south.tif,south_label.png
    my_town/classes.csv     id,name,r,g,b
                            0,ground,90,90,90
                            1,roof,200,30,30
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase

from datamodules.adapters import planning
from datamodules.adapters.class_table import ClassTable, read_class_table
from datamodules.adapters.dataset_card import DatasetCard, ModalityCard, read_dataset_card
from datamodules.adapters.scene_table import (
    FORM,
    KNOWN,
    LABELS,
    SceneTable,
    read_scene_table,
    resolve_path,
)
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan, RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex, read_raster_header
from datamodules.splits.tables import Row, format_counts
from datamodules.store.scene_store import PARTS, SPLIT_VALUES, Modality
from usererror import UserError

STORED = ("uint8", "uint16", "int16", "float32")  # any other type is stored as float32
ONE_FILE = "put the bands of a sensor into one file (gdalbuildvrt -separate)"


def plan_folder(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a folder with scenes.csv and classes.csv; raises UserError."""
    table = read_scene_table(index)
    return plan_table(index, options, table, read_class_table(index, table.file.folder))


def plan_table(
    index: SourceIndex, options: ImportOptions, table: SceneTable, class_table: ClassTable
) -> ImportPlan:
    """Plan the import of scenes that a table names; raises UserError."""
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
        jobs[id_] = {
            raster: _raster_job(raster, have[raster], by_name, class_table) for raster in have
        }
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
        return rows[id_][raster] or f"({table.gap}: {raster} of {id_}; fill it or take it out)"

    return ImportPlan(
        **card.or_else(index.root.stem, "not stated", ""),
        classes=class_table.classes,
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


def _scene_files(index: SourceIndex, table: SceneTable, row: Row) -> dict[str, SourceFile]:
    found = {}
    for raster in table.rasters:
        if row[raster] and (file := resolve_path(index, table.file, row[raster])):
            found[raster] = file
    return found


def _modalities(
    table: SceneTable, files: dict[str, dict[str, SourceFile]], card: DatasetCard
) -> list[Modality]:
    """Return the modalities, in the type of their files."""
    # letters make the names of subsets, so none may stand for two modalities
    taken = {KNOWN[name][0] for name in table.modalities if name in KNOWN}
    for name in card.modalities:
        if name not in table.modalities:
            have = f"the raster columns of scenes.csv are {', '.join(table.modalities)}"
            raise UserError(f"about.json describes the modality {name!r}, but {have}: rename it.")
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
            letter = next((wish for wish in wishes if wish not in taken), "")
            if not letter:
                number = f"{table.file.origin}: {len(table.modalities)} raster columns"
                raise UserError(f"{number} are more than there are letters; {ONE_FILE}.")
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
    return form


def _raster_job(
    raster: str, file: SourceFile, modalities: dict[str, Modality], classes: ClassTable
) -> RasterJob:
    if raster in LABELS:
        return classes.label_job(file)
    modality = modalities[raster]
    channels, dtype = modality.channels, modality.dtype
    bands, stored = tuple(range(1, channels + 1)), _stored_type(dtype)
    return RasterJob(file, bands, stored, modality.kind, (channels,), (dtype,), may_reference=True)


def _stored_type(dtype: str) -> str:
    # wider types cost disk and say nothing more
    return dtype if dtype in STORED else "float32"


ADAPTER = Adapter("folder", "a folder of your own rasters", FORM, plan_folder)
