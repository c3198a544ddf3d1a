"""The `imss picture` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
from benchmark.evaluation.inference import select_test_scenes
from benchmark.experiment.restore import load_run
from benchmark.figures.predictions import draw_predictions


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Load the run's selected checkpoint and draw."""
    run_dir = Path(arguments.run).expanduser()
    cli = load_run(run_dir)
    scene = select_test_scenes(cli.datamodule, [arguments.scene] if arguments.scene else [])[0]
    out = Path(arguments.out).expanduser() if arguments.out else run_dir / "prediction.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    title = f"{cli.cell.variant}, {cli.request.data}"
    draw_predictions(cli.model, cli.datamodule, scene, title, out)
    print(f"Picture: {out}")
