"""The `imss synthesised` command."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.evaluation.inference import (
    crop_top_left,
    present_modalities,
    scene_file_stem,
    select_test_scenes,
)
from benchmark.experiment.restore import load_run
from benchmark.metrics.subsets import subset_name
from usererror import UserError

if TYPE_CHECKING:
    pass
from benchmark.figures.modality_synthesis import FIELDS, SCORES, draw_synthesis, synthesise_scene


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Paint the chosen test scenes; write a PNG for each and one table of scores."""
    from rich.progress import track

    run_dir = Path(arguments.run).expanduser()
    cli = load_run(run_dir)
    scenes = select_test_scenes(
        cli.datamodule, [name for name in arguments.scenes.split(",") if name]
    )
    out = Path(arguments.out).expanduser() if arguments.out else run_dir / "synthesised"
    title = f"{cli.cell.variant}, {cli.request.data}"
    rows = []
    for scene in track(scenes, description="painting"):
        paintings = synthesise_scene(cli.model, cli.datamodule, crop_top_left(scene))
        if not paintings and len(present_modalities(cli.datamodule, scene)) > 1:
            raise UserError(
                f"{cli.cell.variant} paints no missing modality; methods of the GEMMNet family do."
            )
        out.mkdir(parents=True, exist_ok=True)
        draw_synthesis(
            cli.datamodule, scene, paintings, title, out / f"{scene_file_stem(scene.id)}.png"
        )
        rows += [
            (
                scene.id,
                entry.missing,
                subset_name(entry.source, cli.datamodule.letters),
                entry.l1,
                entry.psnr,
            )
            for entry in paintings
        ]
    with (out / SCORES).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows((*row[:3], f"{row[3]:.4f}", f"{row[4]:.2f}") for row in rows)
    for missing, source in dict.fromkeys(row[1:3] for row in rows):
        found = np.array([row[3:] for row in rows if row[1:3] == (missing, source)])
        l1, psnr = found.mean(0)
        print(
            f"{missing} from {source}: L1 {l1:.3f} standard deviations, PSNR {psnr:.2f} dB, {len(found)} scenes"
        )
    print(f"Pictures and {SCORES}: {out}")
