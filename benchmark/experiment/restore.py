"""A trained network, from its run directory alone.

`bench` writes `inputs.json` beside the configuration: modalities with their normalisation, classes,
window and stitching. With it and a checkpoint a run is of use without its scene store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.choices import is_config_file
from benchmark.experiment.checkpoints import checkpoint_for, load_weights
from benchmark.experiment.config import add_import_folders, import_class
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.models import instantiate_model
from benchmark.experiment.request import Request
from datamodules.prepare import ensure_store
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from methods.base import AnyModalitySegmenter

CONFIG = "config.json"


@dataclass(frozen=True)
class TrainedRun:
    """A network in eval mode, where it can run, with what it was trained on.

    Args:
        model: with the weights of the selected checkpoint.
        inputs: what the network takes and gives.
        request: what the run was asked for.
        config: its resolved configuration.
    """

    model: AnyModalitySegmenter
    inputs: Inputs
    request: Request
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Method and data, for the reader of a figure."""
        return f"{self.request.variant}, {self.request.dataset}"

    @cached_property
    def data(self) -> SceneDataModule:
        """The datamodule, built when it is asked for; a UserError explains a missing store."""
        section = self.config["data"]
        # explains what is missing better than the datamodule could
        ensure_store(section["init_args"]["name"], self.request.store)
        data: SceneDataModule = import_class(section["class_path"])(**section["init_args"])
        return data


def load_trained_run(run_dir: Path) -> TrainedRun:
    """Load the selected weights of a run that `bench` made.

    Raises:
        UserError: no run, or no checkpoint.

    Example:
        >>> load_trained_run(Path("nowhere"))
        Traceback (most recent call last):
        usererror.UserError: nowhere is no run directory: nowhere/config.json cannot be read.
    """
    import torch

    request, config = read_run_config(run_dir)
    checkpoint, _ = checkpoint_for(run_dir, config["cell"]["selection"])
    inputs = _read_inputs(run_dir / INPUTS)
    # without pretrained weights: the checkpoint brings its own
    model = instantiate_model(config["model"], inputs.channels, len(inputs.outputs))
    load_weights(model, checkpoint, request.variant)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # the memory format of training and evaluation, so that sums are made in the same order
    model = model.eval().to(device, memory_format=torch.channels_last)
    return TrainedRun(model, inputs, request, config)


def read_run_config(run_dir: Path) -> tuple[Request, dict[str, Any]]:
    """Read what a run was asked for, and its resolved configuration.

    Raises:
        UserError: it is no run directory.
    """
    path = run_dir / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        request, config = Request.from_json(content["request"]), content["resolved"]
        config["model"]["init_args"], config["data"]["init_args"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run_dir} is no run directory: {path} cannot be read.") from error
    # a class of the user's own lies beside their YAML file
    for word in filter(is_config_file, (request.method, request.data)):
        add_import_folders(Path(word))
    # what is done with a run later is no W&B run of its own
    return replace(request, logger="csv"), config


def _read_inputs(path: Path) -> Inputs:
    try:
        return Inputs.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}); `bench` wrote it beside {CONFIG}: copy it back."
        ) from error


def model_overrides(section: Mapping[str, Any]) -> list[str]:
    """Write a `model` section as overrides, which win over the configs of other data.

    Pretrained weights are not looked for, since the checkpoint replaces them.
    """
    words = []
    for key, kept in section["init_args"].items():
        value = False if key == "pretrained" else kept
        # a quoted string is not taken for a Literal by the parser
        text = value if isinstance(value, str) else json.dumps(value)
        words.append(f"--model.init_args.{key}={text}")
    return words
