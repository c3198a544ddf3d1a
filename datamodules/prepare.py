"""`imss data`: import or verify a dataset; miniatures are generated and imported on first use."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from datamodules.miniature.registry import MINIATURES, Miniature
from usererror import UserError


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Import SOURCE under a name, or verify what was imported."""
    from datamodules.ingest.importer import import_dataset
    from datamodules.store.scene_store import SceneStore

    store = Path(arguments.store).expanduser()
    if arguments.verify:
        verify(SceneStore.open(store / arguments.name))
        return
    if arguments.name in MINIATURES and not arguments.source:
        ensure_store(arguments.name, store, force=arguments.force)
        print(f"Complete: {store / arguments.name}")
        return
    if not arguments.source:
        raise UserError(missing_data(arguments.name, "SOURCE is missing."))
    imported = import_dataset(
        arguments.name,
        Path(arguments.source).expanduser(),
        store,
        allow_incomplete=arguments.allow_incomplete,
        force=arguments.force,
        tiles=[tile for tile in arguments.tiles.split(",") if tile] or None,
        copy=arguments.copy,
        workers=arguments.workers or None,
    )
    print(f"Complete: {imported.root}, {len(imported.scenes)} scenes, fingerprint {imported.fingerprint[:12]}")


def verify(store: object) -> None:
    """Compare every file of a store with its checksum; a UserError names what does not match."""
    from datamodules.store.scene_store import SceneStore

    assert isinstance(store, SceneStore)
    problems = store.verify()
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(
            f"{store.root} is damaged: {'; '.join(problems[:5])}{more}. Import it again: "
            f"make data DATA={store.name} SOURCE=... FORCE=1"
        )
    print(f"Verified: every file of {store.root} matches its checksum.")


def ensure_store(name: str, store: Path, force: bool = False) -> None:
    """Make sure that a complete store exists: miniatures are made, anything else is explained.

    Raises:
        UserError: no such store; says what to request, where to put it and the command that imports it.
    """
    from datamodules.store.scene_store import DATASET_FILE, JOURNAL_FILE, SceneStore

    root = store / name
    if (root / DATASET_FILE).exists() and not force:
        SceneStore.open(root)
    elif name in MINIATURES:
        miniature = MINIATURES[name]
        source = _generate(name, miniature, store, force)
        from datamodules.ingest.importer import import_dataset

        import_dataset(miniature.adapter, source, store, name=name, force=force, tiles=miniature.scenes(), copy=True)
        shutil.rmtree(source)  # the store holds copies; what was generated can be generated again
    elif (root / JOURNAL_FILE).exists():
        SceneStore.open(root)  # explains how to go on with the half import
    else:
        raise UserError(missing_data(name, f"There is no data for {name!r} in {store}."))


def _generate(name: str, miniature: Miniature, store: Path, force: bool) -> Path:
    """Write the generated source files under a temporary name, then rename; a half-made set is never imported."""
    source = store / ".generated" / name
    if source.exists() and not force:
        return source
    part = source.with_name(f"{name}.part")
    for old in (part, source):
        shutil.rmtree(old, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    print(f"Generating {name} in {source}")
    miniature.write(part, progress=True)
    os.replace(part, source)
    return source


def missing_data(name: str, problem: str) -> str:
    """One message: what is wrong, how to obtain the data, how to import it."""
    from datamodules.ingest.importer import ADAPTERS, load_adapter

    if name in ADAPTERS:
        command = f"make data DATA={name} SOURCE=<folder or zip that you downloaded>"
        return f"{problem} {load_adapter(name).obtain} Then run: {command}"
    valid = ", ".join(sorted({*ADAPTERS, *MINIATURES} - {"folder"}))
    return (
        f"{problem} {name!r} is no known dataset ({valid}); for rasters of your own run: "
        f"make data DATA={name} SOURCE=<folder with scenes.csv and classes.csv>"
    )
