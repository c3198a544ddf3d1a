"""The `imss diagnose` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.evaluation.inference import select_test_scenes
from benchmark.experiment.restore import load_run
from benchmark.formats.files import write_texts
from usererror import UserError

if TYPE_CHECKING:
    pass
from benchmark.figures.features import (
    NEEDS,
    FeatureCollector,
    complete_scenes,
    count_draws,
    iter_window_features,
)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Look at the test scenes, or the chosen ones, and write a table and a picture for each diagnostic."""
    from rich.progress import track

    from benchmark.figures.feature_plots import draw_diagnostics

    run_dir = Path(arguments.run).expanduser()
    if arguments.points < 2:
        raise UserError(
            f"--points {arguments.points}: a class needs two points or more to have neighbours."
        )
    cli = load_run(run_dir)
    data = cli.datamodule
    cli.model.to(cli.trainer.strategy.root_device)
    scenes = complete_scenes(
        data, select_test_scenes(data, [name for name in arguments.scenes.split(",") if name])
    )
    out = Path(arguments.out).expanduser() if arguments.out else run_dir / "diagnostics"
    inside = FeatureCollector(data, arguments.points)
    for scene in track(scenes, description="looking"):
        for view in iter_window_features(cli.model, data, scene):
            inside.add(scene, view)
    tables = inside.tables(track)
    if inside.draws:
        tables["sampling"] = count_draws(cli.model, data, track)
    if not tables:
        raise UserError(
            f"{cli.cell.variant} shows nothing of what the diagnostics look at (docs/diagnose.md)."
        )
    write_texts(
        out,
        {
            f"{name}.csv": table.to_csv(index=False, lineterminator="\n")
            for name, table in tables.items()
        },
    )
    run_name = f"{cli.cell.variant}, {cli.request.data}, seed {cli.seed}"
    draw_diagnostics(data, tables, inside.maps, run_name, out)
    if lacking := [f"{name} ({need})" for name, need in NEEDS.items() if name not in tables]:
        print(f"{cli.cell.variant} lacks {', '.join(lacking)}.")
    print(f"{', '.join(tables)} of {cli.cell.variant} on {len(scenes)} scenes: {out}")
