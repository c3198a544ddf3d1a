"""`imss predict`."""

import argparse
from typing import Any

from benchmark.commands.options import Command, add_flag, add_option, add_path, add_trained_run
from usererror import UserError


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
        from contextlib import closing
        from functools import partial

        import numpy as np
        import rasterio

        from benchmark.experiment.restore import load_trained_run
        from benchmark.maps import predict
        from benchmark.maps.batches import default_batch
        from benchmark.maps.geotiff import open_maps
        from benchmark.maps.overlap import finished_behind
        from benchmark.maps.window_grid import plain_rows, sheared_rows
        from benchmark.tracking.progress import ProgressLine, show_share
        from datamodules.loading.inference_rasters import open_scene, parse_inputs
        from datamodules.store.names import printable

        trained = load_trained_run(arguments.run, arguments.trust)
        inputs = trained.inputs
        files = parse_inputs(arguments.input, list(inputs.modalities))
        out = arguments.out
        second = out.with_name(f"{out.stem}_probabilities.tif") if arguments.probabilities else None
        # opening a file for writing would empty it before it is read
        for target in (out, second or out):
            if any(target.exists() and target.samefile(path) for path, _ in files.values()):
                raise UserError(f"{target} is an input of this map: name another file with --out.")
        window = arguments.window or inputs.window
        stride = arguments.stride or predict.default_stride(window, arguments.quality)
        if not 1 <= stride <= window:
            raise UserError(f"stride {stride} must lie between 1 and the window of {window} px.")
        if arguments.batch < 0:
            raise UserError(f"batch is {arguments.batch}: give 1 or more, or leave it out.")
        batch = arguments.batch or default_batch(window, trained.model.device.type)
        subset = "+".join(inputs.letters[name] for name in files)
        method, data = trained.request.variant, trained.request.dataset
        tags = {"METHOD": method, "TRAINED_ON": data, "MODALITIES": subset}
        with (
            rasterio.Env(GDAL_CACHEMAX=predict.CACHE_BYTES),
            open_scene(files, inputs.modalities, not arguments.ignore_nodata) as (rasters, grid),
            open_maps(out, grid, inputs.classes, inputs.outputs, second, tags) as maps,
        ):
            every = "+".join(inputs.letters.values())
            print(printable(f"{method} trained on {data}, {subset} of {every}"))
            kind = plain_rows if arguments.quality == "standard" else sheared_rows
            rows = partial(kind, grid.height, grid.width, window, stride)
            number = sum(len(places) for _, places in rows())
            windows = f"{number} windows of {window} px every {stride}, {batch} at a time"
            print(f"{grid.height} x {grid.width} px, {windows}, {trained.model.device}")
            counts, done, line = np.zeros(256, np.int64), 0, ProgressLine()
            strips = predict.predict_strips(trained, rasters, grid, window, rows, batch)
            averaged, probabilities = inputs.stitching == "probabilities", None
            # closed at once where writing fails: it reads ahead from files that are closed next
            with closing(strips), finished_behind(maps.write_strip) as write_strip:
                for row, col, means in strips:
                    # strips come as they are finished: no map is held in memory as a whole
                    ids = predict.class_ids(means, inputs.outputs)
                    if second:
                        shares = means if averaged else means.softmax(0)
                        probabilities = shares.float().cpu().numpy()
                    write_strip(row, col, ids, probabilities)
                    counts += np.bincount(ids.ravel(), minlength=256)
                    done += ids.size
                    show_share(line, done / (grid.height * grid.width))
                    # otherwise held beside the next strip while that is computed
                    del means
            line.close()
        names = {entry.id: entry.name for entry in inputs.classes}
        print(printable(predict.describe_shares(counts, names)))
        print(f"Map: {out}" + (f"\nProbabilities: {second}" if second else ""))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory {peak / 1e9:.2f} GB")
