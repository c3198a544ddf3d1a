"""Runs and maps by the names of their files."""

from collections.abc import Mapping
from pathlib import Path

from benchmark.experiment.restore import TrainedRun, load_trained_run
from benchmark.maps.write_map import MapOptions, write_map
from benchmark.weights.published import read_weights
from datamodules.loading.inference_rasters import parse_inputs


def load_run(run: str | Path, trust: bool = False) -> TrainedRun:
    """Load the selected weights of a run that `bench` made; no scene store is needed.

    Args:
        run: directory of the run, as `bench` prints it.
        trust: classes of outside the suite, which the run names, may be built.

    Returns:
        `.model` in eval mode, on the GPU if there is one; `.inputs`: modalities, classes, window.

    Raises:
        UserError: it is no run, or was made by another version.
    """
    return load_trained_run(Path(run).expanduser(), trust)


def load_weights(
    path: str | Path, trust: bool = False, pretrained_path: str | None = None
) -> TrainedRun:
    """Load a network from the safetensors file that `make publish-weights` wrote.

    Args:
        path: the file; no run and no scene store are needed.
        trust: a class of outside the suite, which the file names, may be built.
        pretrained_path: weight file of a frozen backbone (MoBaNet, MANet), which is in no such
            file; the default is timm's.

    Returns:
        As `load_run`.

    Raises:
        UserError: it is no such file, or was made by another version.
    """
    return read_weights(Path(path).expanduser(), trust, pretrained_path)


def map_rasters(
    run: TrainedRun,
    files: Mapping[str, str | Path],
    out: str | Path,
    options: MapOptions = MapOptions(),  # noqa: B008 - frozen, hence safe to share
    quiet: bool = False,
) -> dict[str, float]:
    """Write the class map of rasters of any size as a GeoTIFF, as `make predict` does.

    Args:
        run: see `load_run`.
        files: file by modality, bands after a colon (`ortho.tif:4`); what is left out is missing.
        out: the GeoTIFF; with `MapOptions(probabilities=True)` another lies beside it.
        options: windows, quality, probabilities.
        quiet: print nothing of what is done.

    Returns:
        The share of each class among the pixels of which some input says something, in [0, 1].

    Raises:
        UserError: files that do not fit each other or the run.
    """
    words = [f"{name}={path}" for name, path in files.items()]
    inputs = parse_inputs(words, list(run.inputs.modalities))
    return write_map(run, inputs, Path(out).expanduser(), options, quiet)
