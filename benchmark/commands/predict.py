"""`imss predict`, `imss export` and `imss publish-weights`: what leaves the suite."""

import argparse
from typing import Any

from benchmark.commands.options import Command, add_flag, add_option, add_path, add_trained_run


class Predict(Command):
    """Write the class map of any rasters as a GeoTIFF."""

    example = "imss predict --run RUN --input rgb=a.tif nir=b.tif:4 --out map.tif"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        text = "what is there of the run's modalities; the others are missing"
        words: dict[str, Any] = {"nargs": "+", "metavar": "MODALITY=FILE[:BANDS]"}
        parser.add_argument("--input", required=True, action="extend", help=text, **words)
        add_path(parser, "--out", "GeoTIFF to write", required=True)
        add_flag(parser, "--probabilities", "also <out>_probabilities.tif, a band per class")
        add_flag(parser, "--ignore-nodata", "read pixels that a file calls nodata like others")
        add_option(parser, "--window", 0, "pixels (default: the run's evaluation window)")
        text = "high: a dense sheared grid of windows, smoother maps in about 25 times the time"
        add_option(parser, "--quality", "standard", text, choices=("standard", "high"))
        text = "pixels (default: half the window; a tenth for high quality)"
        add_option(parser, "--stride", 0, text)
        text = "windows that the network sees together (default: what suits device and window)"
        add_option(parser, "--batch", 0, text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        import resource

        from benchmark.experiment.restore import load_trained_run
        from benchmark.maps.write_map import MapOptions, write_map
        from datamodules.loading.inference_rasters import parse_inputs

        trained = load_trained_run(arguments.run, arguments.trust)
        files = parse_inputs(arguments.input, list(trained.inputs.modalities))
        options = MapOptions(
            arguments.window, arguments.stride, arguments.quality, arguments.batch,
            arguments.probabilities, not arguments.ignore_nodata,
        )  # fmt: skip
        write_map(trained, files, arguments.out, options)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory {peak / 1e9:.2f} GB")


class Export(Command):
    """Write a network as ONNX, one graph per subset, checked against PyTorch."""

    example = "imss export --run RUN --subsets R+D,R --out model.onnx"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        text = "all, or names such as R+D,R (default: all sensors together)"
        add_option(parser, "--subsets", "", text)
        text = "file to write; of several subsets <out>.<subset>.onnx"
        add_path(parser, "--out", text, required=True)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.restore import load_trained_run
        from benchmark.export.onnx_graph import Exported, export_onnx, parse_subsets

        trained = load_trained_run(arguments.run, arguments.trust)
        subsets = parse_subsets(arguments.subsets, trained)

        def tell(one: Exported) -> None:
            size = f"{one.path.stat().st_size / 1e6:.1f} MB"
            apart = f"differs from PyTorch by at most {one.difference:.0e} of the largest logit"
            print(f"{one.subset}: {one.path}, {size}, {apart}", flush=True)

        what = f"{len(subsets)} graph(s) of {trained.title}, a minute or less each"
        print(what, flush=True)
        export_onnx(trained, subsets, arguments.out, tell)


class PublishWeights(Command):
    """Write a network as a safetensors file with a model card, as model hubs take them."""

    example = "imss publish-weights --run RUN --licence cc-by-4.0"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_path(parser, "--out", "folder to write (default: `published` in the run)")
        text = "of the weights, as hubs spell it (default: other, which leaves it to the card)"
        add_option(parser, "--licence", "other", text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.weights.publish import publish_weights

        out = arguments.out or arguments.run / "published"
        weights, card = publish_weights(arguments.run, out, arguments.licence, arguments.trust)
        print(f"{weights}, {weights.stat().st_size / 1e6:.1f} MB\n{card}")
        print("Read the card before you upload the folder: the data's terms may forbid it.")
