"""A trained network, from its run directory alone.

`bench` writes `inputs.json` beside the configuration: modalities with their normalisation, classes,
window and stitching. With it and a checkpoint a run is of use without its scene store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.choices import is_config_file
from benchmark.experiment.config import add_import_folders
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.models import instantiate_model
from benchmark.experiment.request import Request
from benchmark.experiment.trust import import_stored_class
from datamodules.prepare import ensure_store, will_generate
from datamodules.store.names import check_name
from datamodules.store.scene_store import DAMAGE
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from methods.base import AnyModalitySegmenter

CONFIG = "config.json"


@dataclass(frozen=True)
class TrainedRun:
    """A network in eval mode, where it can run, with what it was trained on."""

    model: AnyModalitySegmenter  # with the weights of the selected checkpoint
    inputs: Inputs
    request: Request
    config: Mapping[str, Any] = field(default_factory=dict)  # as it was resolved
    trust: bool = False  # classes of outside the suite may be built

    @property
    def title(self) -> str:
        """Method and data, for the reader of a figure."""
        return f"{self.request.variant}, {self.request.dataset}"

    @cached_property
    def data(self) -> SceneDataModule:
        """The datamodule, built when it is asked for; a UserError explains a missing store."""
        from datamodules.base import SceneDataModule

        if "data" not in self.config:
            raise UserError("Published weights name no data: train or evaluate a run for that.")
        section = self.config["data"]
        kind = import_stored_class(section.get("class_path"), SceneDataModule, self.trust)
        name, stores = check_name("dataset", section["init_args"].get("name")), self.request.store
        if will_generate(name, stores):
            # a run says where it reads, not where this program writes
            missing = f"There is no {name} in {stores}, which the run names"
            raise UserError(f"{missing}; make it there with: make data DATA={name} STORE={stores}")
        # explains what is missing better than the datamodule could
        ensure_store(name, stores)
        with explain_misfit(f"The section data of the run's {CONFIG}"):
            data: SceneDataModule = kind(**section["init_args"])
        # the store may have been imported anew since
        data.match_outputs(self.inputs.output_names)
        return data


def load_trained_run(run_dir: Path, trust: bool = False) -> TrainedRun:
    """Load the selected weights of a run that `bench` made; see `experiment.trust`.

    Example:
        >>> load_trained_run(Path("nowhere"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        usererror.UserError: nowhere is no run directory: nowhere/config.json cannot be read; ...
    """
    request, config = read_run_config(run_dir, trust)
    checkpoint, _ = checkpoint_for(run_dir, config["cell"]["selection"])
    inputs, source = read_inputs(run_dir), f"The section model of the run's {CONFIG}"
    model = build_network(config["model"], inputs, trust, source)
    load_weights(model, checkpoint, request.variant)
    return TrainedRun(model, inputs, request, config, trust)


def build_network(
    section: Mapping[str, Any], inputs: Inputs, trust: bool, source: str
) -> AnyModalitySegmenter:
    """Build what a stored `model` section names, in eval mode, where it can run.

    `source` says for the user where the section stands.
    """
    import torch

    from methods.base import AnyModalitySegmenter

    import_stored_class(section.get("class_path"), AnyModalitySegmenter, trust)
    # without pretrained weights: the stored ones replace them
    with explain_misfit(source):
        model = instantiate_model(section, inputs.channels, len(inputs.outputs))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # the memory format of training and evaluation, so that sums are made in the same order
    return model.eval().to(device, memory_format=torch.channels_last)


@contextmanager
def explain_misfit(source: str) -> Iterator[None]:
    """Turn what a constructor says of arguments that it does not have into a UserError."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"{source} does not fit this version ({said})"
        raise UserError(f"{text}; train the run again.") from error


def read_run_config(run_dir: Path, trust: bool = False) -> tuple[Request, dict[str, Any]]:
    """Read what a run was asked for, and its resolved configuration."""
    path = run_dir / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        request, config = Request.from_json(content["request"]), content["resolved"]
        config["cell"]["selection"]
        for section in ("model", "data"):
            dict(**config[section]["init_args"])
    except DAMAGE as error:
        text = f"{run_dir} is no run directory: {path} cannot be read"
        raise UserError(f"{text}; `bench` prints the directory as `Run:`.") from error
    if trust:
        # a class of the user's own lies beside their YAML file
        for word in filter(is_config_file, (request.method, request.data)):
            add_import_folders(Path(word))
    # what is done with a run later is no W&B run of its own
    return replace(request, logger="csv"), config


def read_inputs(run_dir: Path) -> Inputs:
    """Read what the network of a run takes and gives."""
    path = run_dir / INPUTS
    try:
        return Inputs.from_json(json.loads(path.read_text(encoding="utf-8")))
    except DAMAGE as error:
        remedy = f"`bench` wrote it beside {CONFIG}: copy it back"
        raise UserError(f"{path} cannot be read ({error!r}); {remedy}.") from error


def model_overrides(section: Mapping[str, Any]) -> list[str]:
    """Write a `model` section as overrides, which win over the configs of other data."""
    words = []
    for key, kept in section["init_args"].items():
        # not looked for, since the checkpoint replaces them
        value = False if key == "pretrained" else kept
        # a quoted string is not taken for a Literal by the parser
        text = value if isinstance(value, str) else json.dumps(value)
        words.append(f"--model.init_args.{key}={text}")
    return words


def checkpoint_for(run_dir: Path, rule: str) -> tuple[Path, str]:
    """Find the checkpoint of a selection rule, and the rule that could be applied."""
    folder = run_dir / "checkpoints"
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    # `best` needs a validation; without one the last weights count
    if rule == "best" and best.exists():
        return best, "best"
    if not last.exists():
        problem = f"{folder} has no checkpoint"
        raise UserError(f"{problem}; training ended before its first epoch did.")
    return last, "last"


def load_weights(model: AnyModalitySegmenter, checkpoint: Path, name: str) -> None:
    """Put a checkpoint's weights into a model; `name` is the model's for the user."""
    from benchmark.experiment.checkpoints import read_checkpoint

    fit_state(model, read_checkpoint(checkpoint)["state_dict"], checkpoint, name)


def fit_state(
    model: AnyModalitySegmenter, state: Mapping[str, Any], source: Path, name: str
) -> None:
    """Put weights, read from the file `source`, into a model; `name` is the model's."""
    from benchmark.evaluation.divergence import all_finite

    try:
        # strict: a silently missing weight would be a random one
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        problem = f"{source} does not fit {name} ({detail[:120]})"
        owner = "another method, backbone, dataset or version"
        raise UserError(f"{problem}; it belongs to {owner}.") from error
    if not all_finite(model.parameters()):
        raise UserError(f"{source} has weights that are not finite: its training diverged.")
