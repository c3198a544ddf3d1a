"""Look at what a trained run predicts and holds inside."""

import argparse

from benchmark.commands.options import Command, add_option, add_path, add_trained_run
from usererror import UserError

RUN = "results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"


class Picture(Command):
    """Draw a scene: its modalities, its label and the prediction of every subset."""

    example = f"imss picture --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_path(parser, "--out", "PNG file (default: prediction.png in the run)")
        add_option(parser, "--scene", "", "scene id (default: the first test scene)")
        text = "all subsets below the modalities, or chosen ones in one row for a README"
        add_option(parser, "--layout", "grid", text, choices=("grid", "strip"))
        text = "of a strip, comma separated, e.g. R+D+N,N (default: all sensors and each alone)"
        add_option(parser, "--subsets", [], text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.inference import select_test_scenes
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures import predictions
        from benchmark.formats.files import make_writable

        out = arguments.out or arguments.run / "prediction.png"
        run = load_trained_run(arguments.run, arguments.trust)
        wanted = [arguments.scene] if arguments.scene else []
        scene = select_test_scenes(run.data, wanted)[0]
        make_writable(out.parent)
        if arguments.layout == "strip":
            letters = list(run.data.letters.values())
            names = arguments.subsets or ["+".join(letters), *letters]
            subsets = predictions.subsets_from_letters(run.data, scene, names)
            if not arguments.subsets:
                subsets = list(filter(run.model.sees, subsets))
            predictions.draw_strip(run.model, run.data, scene, subsets, out)
        else:
            predictions.draw_predictions(run.model, run.data, scene, run.title, out)
        print(f"Picture: {out}")


class Examples(Command):
    """Store small pictures of a few test scenes beside a run, for the report."""

    example = f"imss examples --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: a few, evenly spread)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.inference import evenly_spaced, select_test_scenes
        from benchmark.experiment.restore import load_trained_run
        from benchmark.formats.files import make_writable
        from benchmark.tracking.example_images import FOLDER, store_examples

        run = load_trained_run(arguments.run, arguments.trust)
        make_writable(arguments.run, "--run")
        scenes = select_test_scenes(run.data, arguments.scenes)
        if not arguments.scenes:
            scenes = evenly_spaced(scenes)
        store_examples(run.model, run.data, arguments.run, scenes)
        print(f"Examples: {arguments.run / FOLDER}")


class Synthesised(Command):
    """Draw synthesised modalities beside the true ones; measure L1 and PSNR."""

    example = f"imss synthesised --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: all test scenes)")
        add_path(parser, "--out", "directory to write (default: synthesised in the run)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        import pandas as pd
        from rich.progress import track

        from benchmark.evaluation import inference
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures import modality_synthesis
        from benchmark.figures.modality_synthesis import FIELDS, SCORES
        from benchmark.formats.files import csv_text, make_writable, write_texts
        from benchmark.metrics.subsets import subset_name

        run = load_trained_run(arguments.run, arguments.trust)
        data, variant = run.data, run.request.variant
        out = arguments.out or arguments.run / "synthesised"
        rows = []
        scenes = inference.select_test_scenes(data, arguments.scenes)
        for scene in track(scenes, description="synthesising"):
            part = inference.crop_top_left(scene)
            synthesised = modality_synthesis.synthesise_scene(run.model, data, part)
            if not synthesised:
                if len(inference.present_modalities(data, scene)) > 1:
                    problem = f"{variant} paints no missing modality"
                    raise UserError(f"{problem}; methods of the GEMMNet family do.")
                continue  # with a single modality there is nothing to make it from
            file = make_writable(out) / f"{inference.scene_file_stem(scene.id)}.png"
            modality_synthesis.draw_synthesis(data, scene, synthesised, run.title, file)
            for entry in synthesised:
                source = subset_name(entry.source, data.letters)
                rows.append((scene.id, entry.missing, source, entry.l1, entry.psnr, entry.ssim))
        table = pd.DataFrame(rows, columns=FIELDS)
        printed = table.assign(psnr_db=table["psnr_db"].map("{:.2f}".format))
        write_texts(out, {SCORES: csv_text(printed)})
        for (made, given), own in table.groupby(["missing", "from"], sort=False):
            l1, psnr, ssim = own[["l1", "psnr_db", "ssim"]].mean()
            scores = f"L1 {l1:.3f} standard deviations, PSNR {psnr:.2f} dB, SSIM {ssim:.3f}"
            print(f"{made} from {given}: {scores}, {len(own)} scenes")
        print(f"Pictures and {SCORES}: {out}")


class Diagnose(Command):
    """Show the features of a trained network: spread, silhouette, t-SNE, robustness, sampling."""

    example = f"imss diagnose --run {RUN}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_option(parser, "--scenes", [], "ids, comma separated (default: all test scenes)")
        add_path(parser, "--out", "directory to write (default: diagnostics in the run)")
        add_option(parser, "--points", 500, "per class, for silhouette and t-SNE")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from rich.progress import track

        from benchmark.evaluation.inference import select_test_scenes
        from benchmark.experiment.restore import load_trained_run
        from benchmark.figures import features
        from benchmark.figures.feature_plots import draw_diagnostics
        from benchmark.formats.files import csv_text, write_texts

        if arguments.points < 2:
            need = "a class needs two points or more to have neighbours"
            raise UserError(f"--points {arguments.points}: {need}.")
        run = load_trained_run(arguments.run, arguments.trust)
        data, variant = run.data, run.request.variant
        scenes = features.complete_scenes(data, select_test_scenes(data, arguments.scenes))
        out = arguments.out or arguments.run / "diagnostics"
        inside = features.FeatureCollector(data, arguments.points)
        for scene in track(scenes, description="looking"):
            for view in features.iter_window_features(run.model, data, scene):
                inside.add_window(scene, view)
        tables = inside.build_tables(track)
        if inside.draws:
            tables["sampling"] = features.count_draws(run.model, data, track)
        if not tables:
            problem = f"{variant} shows nothing of what the diagnostics look at"
            raise UserError(f"{problem} (docs/diagnose.md).")
        texts = {}
        for name, table in tables.items():
            texts[f"{name}.csv"] = csv_text(table, None)
        write_texts(out, texts)
        run_name = f"{run.title}, seed {run.request.seed}"
        draw_diagnostics(data, tables, inside.maps, run_name, out)
        needs = features.NEEDS.items()
        if lacking := [f"{name} ({need})" for name, need in needs if name not in tables]:
            print(f"{variant} lacks {', '.join(lacking)}.")
        print(f"{', '.join(tables)} of {variant} on {len(scenes)} scenes: {out}")
