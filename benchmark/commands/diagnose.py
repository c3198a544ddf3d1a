"""`imss diagnose`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import (
    Command,
    add_out_argument,
    add_run_argument,
    add_scenes_argument,
)
from usererror import UserError


class Diagnose(Command):
    """Show the features of a trained network: spread, silhouette, t-SNE, robustness, sampling."""

    example = "imss diagnose --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run_argument(parser)
        add_scenes_argument(parser, "all test scenes")
        add_out_argument(parser, "directory to write (default: diagnostics in the run)")
        text = "per class, for silhouette and t-SNE (default %(default)s)"
        parser.add_argument("--points", type=int, default=500, help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from rich.progress import track

        from benchmark.evaluation.inference import select_test_scenes
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures.feature_plots import draw_diagnostics
        from benchmark.figures.features import (
            NEEDS,
            FeatureCollector,
            complete_scenes,
            count_draws,
            iter_window_features,
        )
        from benchmark.formats.files import write_texts

        if arguments.points < 2:
            raise UserError(
                f"--points {arguments.points}: a class needs two points or more to have neighbours."
            )
        run = load_trained_run(arguments.run)
        data, variant = run.data, run.request.variant
        scenes = complete_scenes(data, select_test_scenes(data, arguments.scenes))
        out = arguments.out or arguments.run / "diagnostics"
        inside = FeatureCollector(data, arguments.points)
        for scene in track(scenes, description="looking"):
            for view in iter_window_features(run.model, data, scene):
                inside.add(scene, view)
        tables = inside.tables(track)
        if inside.draws:
            tables["sampling"] = count_draws(run.model, data, track)
        if not tables:
            raise UserError(
                f"{variant} shows nothing of what the diagnostics look at (docs/diagnose.md)."
            )
        texts = {}
        for name, table in tables.items():
            texts[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n")
        write_texts(out, texts)
        run_name = f"{run.title}, seed {run.request.seed}"
        draw_diagnostics(data, tables, inside.maps, run_name, out)
        if lacking := [f"{name} ({need})" for name, need in NEEDS.items() if name not in tables]:
            print(f"{variant} lacks {', '.join(lacking)}.")
        print(f"{', '.join(tables)} of {variant} on {len(scenes)} scenes: {out}")
