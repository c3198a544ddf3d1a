"""Import a dataset and look at it."""

import argparse

from benchmark.commands import options
from benchmark.commands.options import Command, add_flag, add_option, add_path
from usererror import UserError


class Data(Command):
    """Import a dataset into the scene store, or verify it."""

    example = "imss data potsdam --source ~/downloads/potsdam.zip"
    resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        text = "dataset to import, or a new name for a folder with a scenes.csv"
        options.add_data_argument(parser, text)
        add_path(parser, "--source", "what you downloaded: a zip or tar file, or a folder of them")
        text = "mmseg or torchgeo: folder names say what a scenes.csv would"
        add_option(parser, "--layout", "", text, choices=("mmseg", "torchgeo"))
        options.add_store(parser)
        add_option(parser, "--tiles", [], "import only these scenes, comma separated")
        add_flag(parser, "--copy", "copy small rasters too, instead of referencing them")
        add_flag(parser, "--force", "import again what is already complete")
        add_flag(parser, "--verify", "compare every stored file with its checksum")
        text = "accept missing files; the store says so"
        # the second spelling is make's variable
        add_flag(parser, "--allow-incomplete", "--incomplete", text)
        text = "rasters whose files are wrong about nodata, masks, transparency, comma separated"
        add_option(parser, "--ignore-nodata", [], text)
        text = "ignore: places in files are wrong, their pixels lie on one grid"
        add_option(parser, "--align", "check", text, choices=("check", "ignore"))
        add_option(parser, "--workers", 0, "processes (default: as many as cores, at most 4)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.config import store_name
        from datamodules.adapters.registry import import_named_dataset
        from datamodules.miniature.registry import MINIATURES
        from datamodules.prepare import ensure_store, missing_data, verify_store

        name, stores = store_name(arguments.data), arguments.store
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
        flags = options.values_of(
            arguments, "allow_incomplete", "force", "copy", "ignore_nodata", "align", "layout"
        )
        flags |= {"tiles": arguments.tiles or None, "workers": arguments.workers or None}
        store = import_named_dataset(name, arguments.source, stores, **flags)
        scenes = f"{len(store.scenes)} scenes, fingerprint {store.fingerprint[:12]}"
        print(f"Complete: {store.root}, {scenes}")


class Show(Command):
    """Draw an imported dataset: scenes, rasters, labels, class shares, statistics."""

    example = "imss show miniature --rows 3"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_data_argument(parser, "imported dataset; miniatures are made on first use")
        options.add_store(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: a few from all parts)")
        add_option(parser, "--rows", 6, "how many scenes")
        add_option(parser, "--split", "", "split column (default: the dataset's first)")
        add_option(parser, "--blend", 0.45, "label's part in the last column, 0: no such column")
        add_path(parser, "--out", "PNG file (default: contact_sheet.png in the store)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        import pandas as pd

        from benchmark.experiment.config import store_name
        from benchmark.figures import dataset_summary
        from benchmark.formats.files import csv_text, make_writable
        from datamodules.prepare import ensure_store
        from datamodules.store.scene_store import SceneStore, write_text_whole

        name = store_name(arguments.data)
        # a picture may be what shows the damage
        ensure_store(name, arguments.store, compare=False)
        store = SceneStore.open(arguments.store / name)
        split = arguments.split or store.info["splits"][0]
        store.split(split)  # an unknown one is said before any pixel is read
        if arguments.scenes:
            scenes = dataset_summary.find_scenes(store, arguments.scenes)
        else:
            scenes = dataset_summary.choose_scenes(store, split, arguments.rows)
        if not 0 <= arguments.blend <= 1:
            meaning = "give the label's part in the mixture, 0 (no mixture) to 1"
            raise UserError(f"--blend is {arguments.blend:g}; {meaning}.")
        out = arguments.out or store.root / "contact_sheet.png"
        if out.suffix.lower() != ".png":
            raise UserError(f"{out} is no name of a PNG file: let OUT end in .png.")
        shares = dataset_summary.count_all_shares(store, split)
        first = shares[store.labels[0]]
        if not first:
            problem = f"No imported scene of {store.name} takes part in {split}"
            raise UserError(f"{problem}: name another column with --split.")
        statistics = dataset_summary.training_statistics(store, split)
        tables = {
            "class_shares.csv": dataset_summary.share_table(store, split, shares),
            "statistics.csv": pd.DataFrame(statistics),
        }
        make_writable(out.parent)
        for name, table in tables.items():
            write_text_whole(out.parent / name, csv_text(table, None))
        from benchmark.figures.contact_sheet import compose_sheet
        from benchmark.figures.picture_grid import write_figure

        figure = compose_sheet(store, split, scenes, first, statistics, arguments.blend)
        write_figure(figure, out)
        print("\n".join(dataset_summary.describe_dataset(store, split, first)))
        print(f"Contact sheet: {out}; beside it: class_shares.csv, statistics.csv")


class Scenarios(Command):
    """List the scenarios in which sensors are damaged, or draw them on one sheet."""

    example = "imss scenarios --data miniature --out sheet.png"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_option(parser, "--scenario", ["all"], "names or groups, comma separated (default: all)")
        add_option(parser, "--data", "miniature", "imported dataset of which a scene is drawn")
        options.add_store(parser)
        add_option(parser, "--scene", "", "id of the scene (default: the first of the test part)")
        add_option(parser, "--side", 256, "pixels of it that are drawn, from its middle")
        add_path(parser, "--out", "PNG file of the sheet (default: only the list)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.scenario_files import read_scenarios
        from benchmark.figures.scenario_table import scenario_table
        from benchmark.formats.markdown import print_table

        wanted = read_scenarios(arguments.scenario)
        print_table("", scenario_table(wanted))
        if arguments.out is None:
            return
        if arguments.out.suffix.lower() != ".png":
            raise UserError(f"{arguments.out} is no name of a PNG file: let OUT end in .png.")
        if arguments.side < 1:
            raise UserError(f"--side is {arguments.side}: give 1 or more pixels.")
        from benchmark.experiment.config import store_name
        from benchmark.figures.damage_sheet import compose_damages
        from benchmark.figures.picture_grid import write_figure
        from benchmark.formats.files import make_writable
        from datamodules.prepare import ensure_store
        from datamodules.store.scene_store import SceneStore

        name = store_name(arguments.data)
        make_writable(arguments.out.parent)
        ensure_store(name, arguments.store)
        store = SceneStore.open(arguments.store / name)
        figure = compose_damages(store, wanted, arguments.scene, arguments.side)
        write_figure(figure, arguments.out)
        print(f"Sheet: {arguments.out}")
