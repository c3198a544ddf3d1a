"""A trained network, from its run directory alone.

`bench` writes `inputs.json` beside the configuration: modalities with their normalisation, classes, window, stitching.
With it and a checkpoint a run is of use without its scene store.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.experiment.checkpoints import load_weights, select
from benchmark.experiment.request import checked_request

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.experiment.checkpoints import load_state, selected_checkpoint
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.models import instantiate
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


def load(run_dir: Path) -> Trained:
    """The selected weights of a run that `bench` made.

    Args:
        run_dir: its directory.

    Raises:
        UserError: no run, or no checkpoint.
    """
    import torch

    config = trained_run(run_dir)
    resolved, request = config["resolved"], config["request"]
    checkpoint, _ = selected_checkpoint(run_dir, resolved["cell"]["selection"])
    inputs = _inputs(run_dir)
    # without pretrained weights: the checkpoint brings its own
    model = instantiate(resolved["model"], inputs.channels, len(inputs.outputs))
    load_state(model, checkpoint, resolved["cell"]["variant"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device, memory_format=torch.channels_last)  # as in evaluation
    return Trained(model, inputs, resolved["cell"]["variant"], request["data"])


def _inputs(run_dir: Path) -> Inputs:
    path = run_dir / INPUTS
    try:
        return Inputs.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}); `imss bench` wrote it beside config.json: copy it back."
        ) from error


def trained_request(checkpoint: Path) -> dict[str, Any]:
    """What the run of a checkpoint was asked for, but for W&B: what is done with it later is no run of its own.

    Raises:
        UserError: the file does not lie in a run directory.
    """
    try:
        content = trained_run(checkpoint.resolve().parent.parent)
    except UserError as error:
        raise UserError(
            f"{checkpoint} does not lie in a run directory. {error} Keep checkpoints where bench wrote them."
        ) from error
    return {
        **content["request"],
        "logger": "csv",
        "model": content["resolved"]["model"]["init_args"],
    }


def trained_run(run_dir: Path) -> dict[str, Any]:
    """What a run directory says of its cell: `request` and `resolved`.

    Raises:
        UserError: it is no run directory.
    """
    path = run_dir / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["request"], content["resolved"]["model"]["init_args"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run_dir} is no run directory: {path} cannot be read.") from error
    return content


def model_words(trained: dict[str, Any]) -> list[str]:
    """Words that rebuild the network as it was trained, whatever the configs of other data would make of it.

    Pretrained weights are not looked for, since the checkpoint replaces them.
    """
    arguments = {
        key: False if key == "pretrained" else value for key, value in trained["model"].items()
    }
    # a quoted string is not taken for a Literal by the parser
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in arguments.items()
    }
    return [f"--model.init_args.{key}={text}" for key, text in texts.items()]


def load_run(run_dir: Path) -> BenchCLI:
    """The cell of a run directory with the weights of its selected checkpoint, in eval mode.

    Raises:
        UserError: no such run, or its data or checkpoint is not there.
    """
    trained = trained_request(run_dir / "checkpoints" / "last.ckpt")
    trained["runs"] = str(run_dir)
    request = checked_request(
        argparse.Namespace(**trained), [*trained["overrides"], *model_words(trained)]
    )
    from benchmark.experiment.lightning_cli import build

    cli = build(request, run_dir=run_dir)
    load_weights(cli, select(cli)[0])
    cli.model.eval()
    return cli
