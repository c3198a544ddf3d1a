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
        import pandas as pd
        from rich.progress import track

        from benchmark.evaluation.inference import (
            crop_top_left,
            present_modalities,
            scene_file_stem,
            select_test_scenes,
        )
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures.modality_synthesis import (
            FIELDS,
            SCORES,
            draw_synthesis,
            synthesise_scene,
        )
        from benchmark.metrics.subsets import subset_name

        run = load_trained_run(arguments.run)
        data, variant = run.data, run.request.variant
        out = arguments.out or arguments.run / "synthesised"
        rows = []
        scenes = select_test_scenes(data, arguments.scenes)
        for scene in track(scenes, description="synthesising"):
            synthesised = synthesise_scene(run.model, data, crop_top_left(scene))
            if not synthesised and len(present_modalities(data, scene)) > 1:
                raise UserError(
                    f"{variant} paints no missing modality; methods of the GEMMNet family do."
                )
            if not synthesised:
                continue  # with a single modality there is nothing to make it from
            out.mkdir(parents=True, exist_ok=True)
            file = out / f"{scene_file_stem(scene.id)}.png"
            draw_synthesis(data, scene, synthesised, run.title, file)
            for entry in synthesised:
                source = subset_name(entry.source, data.letters)
                rows.append((scene.id, entry.missing, source, entry.l1, entry.psnr, entry.ssim))
        table = pd.DataFrame(rows, columns=FIELDS)
        printed = table.assign(psnr_db=table["psnr_db"].map("{:.2f}".format))
        printed.to_csv(out / SCORES, index=False, float_format="%.4f", lineterminator="\n")
        for (made, given), own in table.groupby(["missing", "from"], sort=False):
            print(
                f"{made} from {given}: L1 {own['l1'].mean():.3f} standard deviations, PSNR "
                f"{own['psnr_db'].mean():.2f} dB, SSIM {own['ssim'].mean():.3f}, {len(own)} scenes"
            )
        print(f"Pictures and {SCORES}: {out}")
