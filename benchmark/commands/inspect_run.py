"""Look at what a trained run predicts and holds inside."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_option, add_path, add_run
from usererror import UserError

RUN = "results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"


class Picture(Command):
    """Draw a scene: its modalities, its label and the prediction of every subset."""

    example = f"imss picture --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run(parser)
        add_path(parser, "--out", "PNG file (default: prediction.png in the run)")
        add_option(parser, "--scene", "", "scene id (default: the first test scene)")
        text = "all subsets below the modalities, or chosen ones in one row for a README"
        add_option(parser, "--layout", "grid", text, choices=("grid", "strip"))
        text = "of a strip, comma separated, e.g. R+D+N,N (default: all sensors and each alone)"
        add_option(parser, "--subsets", [], text)

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


class Examples(Command):
    """Store small pictures of a few test scenes beside a run, for the report."""

    example = f"imss examples --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: a few, evenly spread)")

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


class Synthesised(Command):
    """Draw synthesised modalities beside the true ones; measure L1 and PSNR."""

    example = f"imss synthesised --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: all test scenes)")
        add_path(parser, "--out", "directory to write (default: synthesised in the run)")

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


class Diagnose(Command):
    """Show the features of a trained network: spread, silhouette, t-SNE, robustness, sampling."""

    example = f"imss diagnose --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: all test scenes)")
        add_path(parser, "--out", "directory to write (default: diagnostics in the run)")
        add_option(parser, "--points", 500, "per class, for silhouette and t-SNE")

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
                inside.add_window(scene, view)
        tables = inside.build_tables(track)
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
