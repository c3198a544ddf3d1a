"""`imss data`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import (
    Command,
    add_store_argument,
    comma_separated,
    user_path,
)
from usererror import UserError


class Data(Command):
    """Import a dataset into the scene store, or verify it."""

    example = "imss data potsdam --source ~/downloads/potsdam.zip"
    resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        text = "dataset to import, or a new name for a folder with a scenes.csv"
        parser.add_argument("data", nargs="?", default="miniature", help=text)
        text = "what you downloaded: a folder (searched recursively) or a zip"
        parser.add_argument("--source", type=user_path, help=text)
        add_store_argument(parser)
        text = "import only these scenes, comma separated"
        parser.add_argument("--tiles", type=comma_separated, default=[], help=text)
        flags = {
            ("--copy",): "copy small rasters too, instead of referencing them",
            ("--force",): "import again what is already complete",
            ("--verify",): "compare every stored file with its checksum",
            ("--allow-incomplete", "--incomplete"): "accept missing files; the store says so",
        }
        for names, text in flags.items():
            parser.add_argument(*names, action="store_true", help=text)
        text = "processes (default: as many as cores, at most 4)"
        parser.add_argument("--workers", type=int, help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from datamodules.adapters.registry import import_named_dataset
        from datamodules.miniature.registry import MINIATURES
        from datamodules.prepare import ensure_store, missing_data, verify_store

        name, stores = arguments.data, arguments.store
        if arguments.verify:
            store = verify_store(stores / name)
            print(f"Verified: every file of {store.root} matches its checksum.")
            return
        if name in MINIATURES and not arguments.source:
            ensure_store(name, stores, force=arguments.force)
            print(f"Complete: {stores / name}")
            return
        if not arguments.source:
            raise UserError(missing_data(name, "SOURCE is missing."))
        store = import_named_dataset(
            name,
            arguments.source,
            stores,
            allow_incomplete=arguments.allow_incomplete,
            force=arguments.force,
            tiles=arguments.tiles or None,
            copy=arguments.copy,
            workers=arguments.workers or None,
        )
        scenes = f"{len(store.scenes)} scenes, fingerprint {store.fingerprint[:12]}"
        print(f"Complete: {store.root}, {scenes}")
