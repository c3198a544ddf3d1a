"""`imss synthesised`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import (
    Command,
    add_out_argument,
    add_run_argument,
    add_scenes_argument,
)
from usererror import UserError


class Synthesised(Command):
    """Draw synthesised modalities beside the true ones; measure L1 and PSNR."""

    example = "imss synthesised --run results/runs/miniature/gemmnet/none-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run_argument(parser)
        add_scenes_argument(parser, "all test scenes")
        add_out_argument(parser, "directory to write (default: synthesised in the run)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        import csv

        import numpy as np
        from rich.progress import track

        from benchmark.evaluation.inference import (
            crop_top_left,
            present_modalities,
            scene_file_stem,
            select_test_scenes,
        )
        from benchmark.experiment.restore import load_run
        from benchmark.figures.modality_synthesis import (
            FIELDS,
            SCORES,
            draw_synthesis,
            synthesise_scene,
        )
        from benchmark.metrics.subsets import subset_name

        cli = load_run(arguments.run)
        data, variant = cli.datamodule, cli.cell.variant
        out = arguments.out or arguments.run / "synthesised"
        title = f"{variant}, {cli.request.data}"
        rows = []
        scenes = select_test_scenes(data, arguments.scenes)
        for scene in track(scenes, description="painting"):
            paintings = synthesise_scene(cli.model, data, crop_top_left(scene))
            if not paintings and len(present_modalities(data, scene)) > 1:
                raise UserError(
                    f"{variant} paints no missing modality; methods of the GEMMNet family do."
                )
            out.mkdir(parents=True, exist_ok=True)
            file = out / f"{scene_file_stem(scene.id)}.png"
            draw_synthesis(data, scene, paintings, title, file)
            for entry in paintings:
                source = subset_name(entry.source, data.letters)
                rows.append((scene.id, entry.missing, source, entry.l1, entry.psnr))
        with (out / SCORES).open("w", newline="", encoding="utf-8") as table:
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(FIELDS)
            writer.writerows((*row[:3], f"{row[3]:.4f}", f"{row[4]:.2f}") for row in rows)
        for missing, source in dict.fromkeys(row[1:3] for row in rows):
            found = np.array([row[3:] for row in rows if row[1:3] == (missing, source)])
            l1, psnr = found.mean(0)
            print(
                f"{missing} from {source}: L1 {l1:.3f} standard deviations, "
                f"PSNR {psnr:.2f} dB, {len(found)} scenes"
            )
        print(f"Pictures and {SCORES}: {out}")
