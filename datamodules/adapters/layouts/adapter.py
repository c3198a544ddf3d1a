"""From folders of another project to the table that the folder adapter reads."""

from functools import partial
from posixpath import relpath

from datamodules.adapters.class_table import TABLE, read_class_table
from datamodules.adapters.folder import plan_table
from datamodules.adapters.layouts.forms import FORMS, find_rasters
from datamodules.adapters.layouts.found_classes import find_classes
from datamodules.adapters.layouts.pairing import pair_scenes
from datamodules.adapters.scene_table import KNOWN, RASTER_SUFFIX, SceneTable, sort_columns
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex
from usererror import UserError


def layout_adapter(layout: str) -> Adapter:
    """Return the adapter of a layout; raises UserError for an unknown one."""
    if layout not in FORMS:
        raise UserError(f"There is no LAYOUT={layout}; known are {', '.join(FORMS)}.")
    obtain = f"LAYOUT={layout} reads {', '.join(FORMS[layout])}."
    plan = partial(plan_layout, layout=layout)
    return Adapter(f"LAYOUT={layout}", f"folders as {layout} has them", obtain, plan)


def plan_layout(index: SourceIndex, options: ImportOptions, layout: str) -> ImportPlan:
    """Plan the import of folders whose names say what they hold; raises UserError."""
    base, found = find_rasters(index, layout)
    scenes, endings = pair_scenes(found)
    rasters = sorted({file.raster for file in found}, key=_rank)
    rows = []
    for id_, files in scenes.items():
        row = {"id": id_, "split": id_.partition("/")[0]}
        for raster in rasters:
            row[raster] = relpath(files[raster].rel, base) if raster in files else ""
        rows.append(row)
    place = SourceFile(index.root, f"{base}/{layout}", f"{index.root} (LAYOUT={layout})", 0, "")
    table = sort_columns(index, SceneTable(place, rows, gap="no file"))
    notes = [f"  {raster}: {cut} is no part of a scene's name" for raster, cut in endings.items()]
    if any(file.folder == place.folder for file, _ in index.match_names(TABLE)):
        classes = read_class_table(index, place.folder)
    else:
        labels = [files["label"] for files in scenes.values() if "label" in files]
        index.log(f"no classes.csv: looking for the values in {len(labels)} labels")
        classes = find_classes(labels)
        names = ", ".join(entry.name for entry in classes.classes)
        notes.append(f"  classes found: {names}; write a classes.csv if one means no data")
    plan = plan_table(index, options, table, classes)
    unused = sum(1 for file in index.files if RASTER_SUFFIX.match(file.name))
    unused -= sum(map(len, scenes.values()))
    if unused:
        notes.append(f"  {unused} other raster files are left out")
    plan.inventory += notes
    return plan


def _rank(raster: str) -> tuple[int, str]:
    # as tables have them: the sensors that are known first, whatever folders are called
    known = list(KNOWN)
    return known.index(raster) if raster in known else len(known), raster
