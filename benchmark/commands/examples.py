"""`imss examples`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_run_argument, add_scenes_argument


class Examples(Command):
    """Store small pictures of a few test scenes beside a run, for the report."""

    example = "imss examples --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run_argument(parser)
        add_scenes_argument(parser, "a few, evenly spread")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.inference import evenly_spaced, select_test_scenes
        from benchmark.experiment.restore import load_run
        from benchmark.tracking.example_images import FOLDER, store_examples

        cli = load_run(arguments.run)
        scenes = select_test_scenes(cli.datamodule, arguments.scenes)
        store_examples(cli, arguments.run, scenes if arguments.scenes else evenly_spaced(scenes))
        print(f"Examples: {arguments.run / FOLDER}")
