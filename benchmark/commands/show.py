"""`imss show`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import (
    Command,
    add_out_argument,
    add_scenes_argument,
    add_store_argument,
)
from usererror import UserError


class Show(Command):
    """Draw an imported dataset: scenes, rasters, labels, class shares, statistics."""

    example = "imss show miniature --rows 3"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        text = "imported dataset (default %(default)s); miniatures are made on first use"
        parser.add_argument("data", nargs="?", default="miniature", help=text)
        add_store_argument(parser)
        add_scenes_argument(parser, "a few from all parts")
        text = "how many scenes (default %(default)s)"
        parser.add_argument("--rows", type=int, default=6, help=text)
        text = "split column (default: the dataset's first)"
        parser.add_argument("--split", default="", help=text)
        text = "label's part in the last column, 0: no such column"
        parser.add_argument("--blend", type=float, default=0.45, help=text)
        add_out_argument(parser, "PNG file (default: contact_sheet.png in the store)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.figures.dataset_summary import (
            _write_tables,
            all_shares,
            chosen_scenes,
            named_scenes,
            summary,
            training_statistics,
        )
        from datamodules.prepare import ensure_store
        from datamodules.store.scene_store import SceneStore

        ensure_store(arguments.data, arguments.store)
        store = SceneStore.open(arguments.store / arguments.data)
        split = arguments.split or store.info["splits"][0]
        store.split(split)  # an unknown one is said before any pixel is read
        if arguments.scenes:
            scenes = named_scenes(store, arguments.scenes)
        else:
            scenes = chosen_scenes(store, split, arguments.rows)
        if not 0 <= arguments.blend <= 1:
            raise UserError(
                f"--blend is {arguments.blend:g}; "
                "give the label's part in the mixture, 0 (no mixture) to 1."
            )
        out = arguments.out or store.root / "contact_sheet.png"
        if out.suffix.lower() != ".png":
            raise UserError(f"{out} is no name of a PNG file: let OUT end in .png.")
        shares = all_shares(store, split)
        if not shares[store.labels[0]]:
            raise UserError(
                f"No imported scene of {store.name} takes part in {split}: "
                "name another column with --split."
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
