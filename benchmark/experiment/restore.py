"""A trained network, from its run directory alone.

`bench` writes `inputs.json` beside the configuration: modalities with their normalisation, classes, window, stitching.
With it and a checkpoint a run is of use without its scene store. Runs from before that file need the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.commands.evaluate import trained_run
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.models import instantiate
from benchmark.experiment.train import load_state, selected_checkpoint
from usererror import UserError

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter


@dataclass(frozen=True)
class Trained:
    """A network in eval mode, where it can run, and what it takes; `variant` and `data` are names for the reader."""

    model: AnyModalitySegmenter
    inputs: Inputs
    variant: str
    data: str


def load(run_dir: Path, store: str = "") -> Trained:
    """The selected weights of a run that `bench` made.

    Args:
        run_dir: its directory.
        store: directory of scene stores, for runs that keep no `inputs.json`; empty: where the run found it.

    Raises:
        UserError: no run, no checkpoint, or a run that needs a store that is not there.
    """
    import torch

    config = trained_run(run_dir)
    resolved, request = config["resolved"], config["request"]
    checkpoint, _ = selected_checkpoint(run_dir, resolved["cell"]["selection"])
    inputs = _inputs(run_dir, config, store)
    # without pretrained weights: the checkpoint brings its own
    model = instantiate(resolved["model"], inputs.channels, len(inputs.outputs))
    load_state(model, checkpoint, resolved["cell"]["variant"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device, memory_format=torch.channels_last)  # as in evaluation
    return Trained(model, inputs, resolved["cell"]["variant"], request["data"])


def _inputs(run_dir: Path, config: Mapping[str, Any], store: str) -> Inputs:
    path = run_dir / INPUTS
    try:
        return Inputs.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return _from_store(run_dir, config, store)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): remove it to read the same from the run's store.") from error


def _from_store(run_dir: Path, config: Mapping[str, Any], store: str) -> Inputs:
    section = config["resolved"]["data"]
    package, _, name = section["class_path"].rpartition(".")
    where = store or config["request"]["store"]
    try:
        data = getattr(import_module(package), name)(**{**section["init_args"], "store": where})
    except UserError as error:
        raise UserError(
            f"{run_dir} is from before runs kept their normalisation ({INPUTS}), so it needs the store it was trained "
            f"on: name the folder of stores with --store. {error}"
        ) from error
    return Inputs.of(data, config["resolved"]["evaluation"]["stitching"])
