"""The `imss examples` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.evaluation.inference import select_test_scenes
from benchmark.experiment.restore import load_run

if TYPE_CHECKING:
    pass
from benchmark.evaluation.inference import evenly_spaced
from benchmark.tracking.example_images import FOLDER, store_examples


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Load the run's selected checkpoint and store its examples anew."""
    run_dir = Path(arguments.run).expanduser()
    cli = load_run(run_dir)
    scenes = select_test_scenes(
        cli.datamodule, [name for name in arguments.scenes.split(",") if name]
    )
    store_examples(cli, run_dir, scenes if arguments.scenes else evenly_spaced(scenes))
    print(f"Examples: {run_dir / FOLDER}")
