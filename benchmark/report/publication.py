"""What of a run is committed: its record, its training curves and, if asked for, its pictures."""

import json
import shutil
from pathlib import Path

import pandas as pd

from benchmark.formats.files import csv_text, is_own_file, own_file, write_texts
from benchmark.records.record import Record, publish_record
from benchmark.report.gallery import MEDIA_TYPES
from benchmark.report.training_curves import LOGS, read_curves
from benchmark.tracking.example_images import FOLDER, INDEX
from datamodules.miniature.registry import LICENCE
from datamodules.store.scene_store import DAMAGE
from usererror import UserError


def publish_run(record: Record, target: Path, pictures: bool) -> None:
    """Copy what the tables and the report show of a run to a directory that git holds.

    Pictures are those of `make bench`, and of generated scenes only: pixels of other data are not
    ours to give away.
    """
    run_dir = record.path.parent
    # a refusal comes before anything is written
    chosen = _generated_pictures(run_dir / FOLDER) if pictures else []
    shutil.rmtree(target, ignore_errors=True)
    for path in chosen:
        copy = target / path.relative_to(run_dir)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    # with fewer points than the logs, and in their form: the report reads both
    if curves := read_curves(run_dir):
        table = csv_text(pd.concat(curves.values()), decimals=6)
        write_texts(target / LOGS, {"metrics.csv": table})
    publish_record(record.path, target)


def _generated_pictures(folder: Path) -> list[Path]:
    """List the index and the pictures of a run's examples, if all scenes were generated."""
    again = "make them with: make examples RUN=..."
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        licence = index.get("licence")
    except DAMAGE as error:
        raise UserError(f"There are no pictures in {folder}; {again}") from error
    if licence != LICENCE:
        text = f"The pictures in {folder} do not say that their scenes are generated"
        raise UserError(f"{text}: publish without PICTURES; those of an older run: {again}")
    found = [own_file(folder / INDEX, folder.parent)]
    for path in sorted(folder.glob("*/*")):
        # not what a link of a foreign run points to
        if path.suffix in MEDIA_TYPES and path.is_file() and is_own_file(path, folder.parent):
            found.append(path)
    return found
