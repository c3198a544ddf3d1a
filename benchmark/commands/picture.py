"""`imss picture`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_out_argument, add_run_argument


class Picture(Command):
    """Draw a scene: its modalities, its label and the prediction of every subset."""

    example = "imss picture --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run_argument(parser)
        add_out_argument(parser, "PNG file (default: prediction.png in the run)")
        text = "scene id (default: the first test scene)"
        parser.add_argument("--scene", default="", help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.inference import select_test_scenes
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures.predictions import draw_predictions

        run = load_trained_run(arguments.run)
        wanted = [arguments.scene] if arguments.scene else []
        scene = select_test_scenes(run.data, wanted)[0]
        out = arguments.out or arguments.run / "prediction.png"
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_predictions(run.model, run.data, scene, run.title, out)
        print(f"Picture: {out}")
