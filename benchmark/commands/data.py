"""The `imss data` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datamodules.miniature.registry import MINIATURES
from datamodules.prepare import ensure_store, missing_data
from usererror import UserError


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Import SOURCE under a name, or verify what was imported."""
    from datamodules.adapters.registry import import_named_dataset
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
    imported = import_named_dataset(
        arguments.name,
        Path(arguments.source).expanduser(),
        store,
        allow_incomplete=arguments.allow_incomplete,
        force=arguments.force,
        tiles=[tile for tile in arguments.tiles.split(",") if tile] or None,
        copy=arguments.copy,
        workers=arguments.workers or None,
    )
    print(
        f"Complete: {imported.root}, {len(imported.scenes)} scenes, fingerprint {imported.fingerprint[:12]}"
    )


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
