"""Are the rasters still those whose fingerprint the store tells?

Asked at every start. Size and times are compared first, because reading all pixels would take
minutes; a file in doubt is compared by its checksum, and its new times are noted, so that a copied
store is read once and not at every start.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from datamodules.rasters.raster_file import mask_beside
from datamodules.store.scene_store import (
    DAMAGE,
    JOURNAL_FILE,
    SceneStore,
    file_problem,
    file_stamp,
    import_command,
    write_text_whole,
)
from usererror import UserError

STAMPS_FILE = "stamps.json"
SOURCE_TABLES = (".csv", ".json", ".zip", ".tar", ".tgz", ".tar.gz")
MAX_LISTED = 5
TOLD_FILES = 50  # from here on the reading may take longer than a moment


def check_unchanged(store: SceneStore, log: Callable[[str], None] = print) -> None:
    """Raise UserError when a raster of the store, referenced or its own, has changed."""
    known: dict[str, str] = {}
    # a store without notes, or with damaged ones, is in doubt as a whole
    with suppress(*DAMAGE):
        known = dict(json.loads((store.root / STAMPS_FILE).read_text(encoding="utf-8")))
    stamps, problems = {}, list(store.changed_tables())
    doubtful = []
    for _, place, sha256 in store.list_rasters():
        path = store.root / place
        stamps[place] = file_stamp(path)
        if not stamps[place] or stamps[place] != known.get(place):
            doubtful.append((path, sha256))
        # a raster with one is copied by the import, so this one came later
        if mask := mask_beside(path):
            problems.append(f"{mask} was put beside a raster after the import")
    if len(doubtful) > TOLD_FILES:
        log(f"{store.name}: {len(doubtful)} files have new times: comparing their checksums once")
    for path, sha256 in doubtful:
        if problem := file_problem(path, sha256):
            problems.append(problem)
    if problems:
        raise changed_error(store, problems)
    if doubtful:
        write_stamps(store.root, stamps)
    for edited in _changed_sources(store.root):
        again = import_command(store.name, store.info)
        log(f"warning: {edited} has changed since the import, the store has not: {again}")


def write_stamps(root: Path, stamps: dict[str, str]) -> None:
    """Note the stamps of the rasters of the store in `root`: {path as in scenes.csv: stamp}."""
    # in a store that one may only read the checksums are compared at every start
    with suppress(OSError):
        write_text_whole(root / STAMPS_FILE, json.dumps(stamps))


def changed_error(store: SceneStore, problems: list[str]) -> UserError:
    """Return the error that names the first of the `problems` and how to import again."""
    rest = len(problems) - MAX_LISTED
    listed = "; ".join(problems[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")
    again = import_command(store.name, store.info)
    remedy = "Put the files back as they were, or import them as they are now"
    listed += ". The data command with --verify compares all files"
    return UserError(f"{store.root} is damaged or changed: {listed}. {remedy}: {again}")


def _changed_sources(root: Path) -> list[str]:
    """Return tables and archives of the source that were edited after the import."""
    files = {}
    with suppress(*DAMAGE), (root / JOURNAL_FILE).open(encoding="utf-8") as stream:
        # the header alone: the lines below it are many
        files = dict(json.loads(stream.readline())["files"])
    changed = []
    for path in filter(lambda path: path.lower().endswith(SOURCE_TABLES), files):
        now = file_stamp(Path(path))
        if now and not now.startswith(f"{files[path]}:"):
            changed.append(path)
    return changed
