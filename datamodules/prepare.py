"""Stores for commands that need one: miniatures are made on first use, other data is explained."""

from __future__ import annotations

import os
import shutil
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.miniature.registry import MINIATURES, Miniature
from datamodules.processes import hold
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.store.scene_store import SceneStore


def ensure_store(
    name: str, store: Path, force: bool = False, size: str = "demonstration", compare: bool = True
) -> None:
    """Make sure that a whole, unchanged store exists: generate a miniature, explain anything else.

    `store` is the directory of the scene stores. A miniature, of size `test`, `demonstration` or
    `real`, is made again with `force`. Files that have changed since the import are an error,
    but for `compare=False`. UserError says what to request and how to import it.

    Example:
        >>> ensure_store("vaihingen", Path("no_such_folder"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        usererror.UserError: There is no data for 'vaihingen' in no_such_folder. ...
    """
    from datamodules.ingest.file_changes import check_unchanged
    from datamodules.store.scene_store import (
        DATASET_FILE,
        JOURNAL_FILE,
        SceneStore,
        import_command,
    )

    root = store / name
    if (root / DATASET_FILE).exists() and not force:
        opened = SceneStore.open(root)
        if compare:
            check_unchanged(opened)
        # generated files say nothing of themselves that an earlier import could have missed
        if "align" not in opened.info and name not in MINIATURES:
            again = f"{import_command(name, opened.info)} FORCE=1"
            unasked = "which did not ask files for voids, scales and places"
            print(f"warning: {name} was imported by an earlier version, {unasked}: {again}")
    elif name in MINIATURES:
        waiting = partial(print, f"Another process is making {name}: waiting for it.")
        with hold(store / ".generated" / f"{name}.lock", waiting):
            # the process that was waited for may have made it
            if force or not (root / DATASET_FILE).exists():
                _import_miniature(name, MINIATURES[name], store, force, size)
    elif (root / JOURNAL_FILE).exists():
        SceneStore.open(root)  # explains how to go on with the half import
    else:
        raise UserError(missing_data(name, f"There is no data for {name!r} in {store}."))


def will_generate(name: str, store: Path) -> bool:
    """Tell whether `ensure_store` has a miniature to make, which takes a while."""
    from datamodules.store.scene_store import DATASET_FILE

    return name in MINIATURES and not (store / name / DATASET_FILE).exists()


def _import_miniature(name: str, miniature: Miniature, store: Path, force: bool, size: str) -> None:
    from datamodules.adapters.registry import import_named_dataset
    from datamodules.rasters.raster_errors import check_written, explained_writing

    source = store / ".generated" / name
    if force or not source.exists():
        # written under a temporary name, so that a half-made set is never imported
        part = source.with_name(f"{name}.part")
        for old in (part, source):
            shutil.rmtree(old, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        print(f"Generating {name} in {source}")
        try:
            with explained_writing(source):
                miniature.write_source(part, size, progress=True)
                for file in chain(part.rglob("*.tif"), part.rglob("*.png")):
                    check_written(file)
                os.replace(part, source)
        finally:
            # half a set is of no use and may be what fills the disk
            shutil.rmtree(part, ignore_errors=True)
    tiles = miniature.scene_ids(size)
    import_named_dataset(
        miniature.adapter, source, store, name=name, force=force, tiles=tiles, copy=True
    )
    shutil.rmtree(source)  # the store holds copies; what was generated can be generated again


def missing_data(name: str, problem: str) -> str:
    """Say in one message what is wrong, how to obtain the data, and how to import it."""
    from datamodules.adapters.registry import ADAPTERS, load_adapter

    if name in ADAPTERS:
        command = f"make data DATA={name} SOURCE=<folder or archive that you downloaded>"
        return f"{problem} {load_adapter(name).obtain} Then run: {command}"
    valid = ", ".join(sorted({*ADAPTERS, *MINIATURES} - {"folder"}))
    return (
        f"{problem} {name!r} is no known dataset ({valid}); for rasters of your own run: "
        f"make data DATA={name} SOURCE=<folder with scenes.csv and classes.csv>"
    )


def verify_store(root: Path) -> SceneStore:
    """Compare every file of the store in the folder `root` with its checksum; return the store."""
    from datamodules.ingest.file_changes import changed_error
    from datamodules.store.scene_store import SceneStore

    store = SceneStore.open(root)
    if problems := store.verify():
        raise changed_error(store, problems)
    return store
