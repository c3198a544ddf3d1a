"""`imss picture`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import (
    Command,
    add_out_argument,
    add_run_argument,
    comma_separated,
)


class Picture(Command):
    """Draw a scene: its modalities, its label and the prediction of every subset."""

    example = "imss picture --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run_argument(parser)
        add_out_argument(parser, "PNG file (default: prediction.png in the run)")
        text = "scene id (default: the first test scene)"
        parser.add_argument("--scene", default="", help=text)
        text = "all subsets below the modalities, or chosen ones in one row for a README"
        parser.add_argument("--layout", choices=("grid", "strip"), default="grid", help=text)
        text = "of a strip, comma-separated, e.g. R+D+N,R+D,N (default: all sensors and each alone)"
        parser.add_argument("--subsets", type=comma_separated, default=[], help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.inference import select_test_scenes
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures.predictions import (
            draw_predictions,
            draw_strip,
            subsets_from_letters,
        )

        run = load_trained_run(arguments.run)
        wanted = [arguments.scene] if arguments.scene else []
        scene = select_test_scenes(run.data, wanted)[0]
        out = arguments.out or arguments.run / "prediction.png"
        out.parent.mkdir(parents=True, exist_ok=True)
        if arguments.layout == "strip":
            letters = list(run.data.letters.values())
            names = arguments.subsets or ["+".join(letters), *letters]
            subsets = subsets_from_letters(run.data, scene, names)
            draw_strip(run.model, run.data, scene, subsets, out)
        else:
            draw_predictions(run.model, run.data, scene, run.title, out)
        print(f"Picture: {out}")
