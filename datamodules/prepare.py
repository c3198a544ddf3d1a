"""`imss data`: import or verify a dataset; miniatures are generated and imported on first use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from datamodules.miniature.registry import MINIATURES, Miniature
from usererror import UserError


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
        from datamodules.adapters.registry import import_named_dataset

        import_named_dataset(
            miniature.adapter,
            source,
            store,
            name=name,
            force=force,
            tiles=miniature.scenes(),
            copy=True,
        )
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
    from datamodules.adapters.registry import ADAPTERS, load_adapter

    if name in ADAPTERS:
        command = f"make data DATA={name} SOURCE=<folder or zip that you downloaded>"
        return f"{problem} {load_adapter(name).obtain} Then run: {command}"
    valid = ", ".join(sorted({*ADAPTERS, *MINIATURES} - {"folder"}))
    return (
        f"{problem} {name!r} is no known dataset ({valid}); for rasters of your own run: "
        f"make data DATA={name} SOURCE=<folder with scenes.csv and classes.csv>"
    )
