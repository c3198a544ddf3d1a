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
        from benchmark.experiment.restore import load_trained_run
        from benchmark.tracking.example_images import FOLDER, store_examples

        run = load_trained_run(arguments.run)
        scenes = select_test_scenes(run.data, arguments.scenes)
        if not arguments.scenes:
            scenes = evenly_spaced(scenes)
        store_examples(run.model, run.data, arguments.run, scenes)
        print(f"Examples: {arguments.run / FOLDER}")
