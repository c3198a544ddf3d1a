"""A trained network as one safetensors file, which holds all that rebuilding it takes.

Beside the tensors stands, as JSON under `imss` in the file's metadata: the class and its arguments,
modalities with their normalisation, classes, window and stitching. Frozen backbones are not in it;
their note names them, and they are loaded as `pretrained_path` or timm says.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmark.experiment.model_inputs import Inputs
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun, build_network, fit_state
from datamodules.store.names import check_name
from datamodules.store.part_files import whole_file
from datamodules.store.scene_store import DAMAGE
from usererror import UserError

FILE = "model.safetensors"
KEY = "imss"
FORMAT = 1
PATH = "pretrained_path"


def write_weights(trained: TrainedRun, path: Path) -> None:
    """Write the weights of a run, and what rebuilds its network, as a safetensors file."""
    section = trained.config["model"]
    # where files lie on this machine says nothing elsewhere
    arguments = {k: v for k, v in section["init_args"].items() if not k.endswith("_path")}
    names = {"method": trained.request.variant, "data": trained.request.dataset}
    model = {"class_path": section["class_path"], "init_args": arguments}
    told = {"format": FORMAT, **names, "model": model, "inputs": trained.inputs.to_json()}
    # copies, since safetensors takes neither shared memory nor another order of the axes
    tensors = {k: v.cpu().contiguous().clone() for k, v in trained.model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        save_file(tensors, part, metadata={"format": "pt", KEY: json.dumps(told)})


def read_weights(path: Path, trust: bool = False, pretrained_path: str | None = None) -> TrainedRun:
    """Rebuild a network from a file that `write_weights` wrote.

    Args:
        path: the safetensors file.
        trust: a class of outside the suite, which the file names, may be built.
        pretrained_path: weight file of a frozen backbone, which is in no such file.

    Raises:
        UserError: it is no such file, or does not fit this version.
    """
    text, tensors = _read_file(path)
    try:
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']!r}, this version reads {FORMAT}")
        request = Request(check_name("method", told["method"]), check_name("dataset", told["data"]))
        section = told["model"]
        arguments = {**section["init_args"], PATH: pretrained_path}
        inputs = Inputs.from_json(told["inputs"])
    except DAMAGE as error:
        problem = f"What {path} says of its network cannot be read ({error!r})"
        raise UserError(
            f"{problem}: publish it anew with `make publish-weights RUN=...`."
        ) from error
    if pretrained_path is None:
        del arguments[PATH]
    section = {**section, "init_args": arguments}
    model = build_network(section, inputs, trust, f"What {path} says of its network")
    fit_state(model, tensors, path, request.variant)
    return TrainedRun(model, inputs, request, {"model": section}, trust)


def _read_file(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Read what a file says of its network, and its tensors."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as a safetensors file: {error}.") from error
    if KEY not in metadata:
        text = f"{path} holds weights, but does not say of which network"
        raise UserError(f"{text}: `make publish-weights RUN=...` writes files that do.")
    return metadata[KEY], tensors
