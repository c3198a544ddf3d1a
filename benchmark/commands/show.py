"""The `imss show` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.prepare import ensure_store
from usererror import UserError

if TYPE_CHECKING:
    pass
from benchmark.figures.dataset_summary import (
    _write_tables,
    all_shares,
    chosen_scenes,
    named_scenes,
    summary,
    training_statistics,
)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Draw the contact sheet of an imported store, write its two tables, print the summary."""
    from datamodules.store.scene_store import SceneStore

    stores = Path(arguments.store).expanduser()
    ensure_store(arguments.name, stores)
    store = SceneStore.open(stores / arguments.name)
    split = arguments.split or store.info["splits"][0]
    store.split(split)  # an unknown one is said before any pixel is read
    wanted = [name for name in arguments.scenes.split(",") if name]
    scenes = named_scenes(store, wanted) if wanted else chosen_scenes(store, split, arguments.rows)
    if not 0 <= arguments.blend <= 1:
        raise UserError(
            f"--blend is {arguments.blend:g}; give the label's part in the mixture, 0 (no mixture) to 1."
        )
    out = Path(arguments.out).expanduser() if arguments.out else store.root / "contact_sheet.png"
    if out.suffix.lower() != ".png":
        raise UserError(f"{out} is no name of a PNG file: let OUT end in .png.")
    shares = all_shares(store, split)
    if not shares[store.labels[0]]:
        raise UserError(
            f"No imported scene of {store.name} takes part in {split}: name another column with --split."
        )
    statistics = training_statistics(store, split)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write_tables(store, split, shares, statistics, out.parent)
        from benchmark.figures.contact_sheet import save

        save(store, split, scenes, shares[store.labels[0]], statistics, out, arguments.blend)
    except PermissionError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}): name another place with OUT=."
        ) from error
    print("\n".join(summary(store, split, shares[store.labels[0]])))
    print(f"Contact sheet: {out}; beside it: class_shares.csv, statistics.csv")
