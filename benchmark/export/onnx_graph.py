"""A trained network as ONNX: one graph per subset, checked against PyTorch.

Which sensors are at hand decides which parts of a network run, and that is decided in Python: so a
graph holds one subset. Inputs are named as the modalities, float32 `(1, C, H, W)` of the run's
window, normalised; the output `logits` is `(1, K, H, W)`. What a program needs besides stands in
the file's metadata under `imss`, as JSON.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmark.evaluation.inference import require_seen
from benchmark.experiment.restore import TrainedRun
from benchmark.metrics.subsets import modality_subsets, subset_name
from datamodules.store.part_files import whole_file
from usererror import UserError

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

OPSET = 18
TOLERANCE = 1e-4  # of the largest logit, float32 on both sides
WINDOWS = 3  # of random values that are compared
MISSING = "ONNX needs further packages: pip install onnx onnxruntime onnxscript"


@dataclass(frozen=True)
class Exported:
    """A graph that was written: where, of which sensors, and how far it is from PyTorch."""

    path: Path
    subset: str
    difference: float  # largest of the logits, as a share of the largest logit


class SubsetNetwork(nn.Module):
    """The network of some modalities, as a function of their images in this order."""

    def __init__(self, model: AnyModalitySegmenter, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *images: Tensor) -> Tensor:
        """Predict logits `(1, K, H, W)`."""
        return self.model(dict(zip(self.names, images, strict=True)))


def parse_subsets(text: str, trained: TrainedRun) -> list[tuple[str, ...]]:
    """Return the subsets that `all` or words such as `R+D,D` name; empty: all sensors together.

    Of `all`, those are left out of which the network sees nothing.
    """
    letters = trained.inputs.letters
    every = {subset_name(subset, letters): subset for subset in modality_subsets(list(letters))}
    if text == "all":
        return list(filter(trained.model.sees, every.values()))
    named = [word.strip() for word in text.split(",") if word.strip()] or list(every)[-1:]
    for word in named:
        if word not in every:
            raise UserError(f"There is no subset {word!r}; there are: all, {', '.join(every)}.")
        require_seen(trained.model, every[word])
    return [every[word] for word in named]


def export_onnx(
    trained: TrainedRun,
    subsets: Sequence[Sequence[str]],
    out: Path,
    tell: Callable[[Exported], None] = lambda one: None,
) -> list[Exported]:
    """Write a graph per subset and compare it with PyTorch on windows of random values.

    Args:
        trained: a run, see `load_trained_run`.
        subsets: names of modalities; several are written as `<out>.<subset>.onnx`.
        out: the file of a single subset.
        tell: is given each graph as it is finished.

    Raises:
        UserError: packages are missing, the network cannot be exported, or its graph differs by
            more than 1e-4 of the largest logit; nothing is written then.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{MISSING} ({error}).") from error
    written = []
    for subset in subsets:
        name = subset_name(subset, trained.inputs.letters)
        path = out if len(subsets) == 1 else out.with_name(f"{out.stem}.{name}.onnx")
        program = trace(trained, subset)
        program.model.metadata_props["imss"] = json.dumps(describe(trained, subset))
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            program.save(part)
            difference = compare(trained, subset, part)
            if not difference <= TOLERANCE:
                text = f"The graph of {name} differs from PyTorch by {difference:.1e}"
                raise UserError(f"{text} of the largest logit, more than {TOLERANCE:g}.")
        written.append(Exported(path, name, difference))
        tell(written[-1])
    return written


def trace(trained: TrainedRun, subset: Sequence[str]) -> Any:
    """Return the graph of a subset; raises UserError where torch cannot make one."""
    network = SubsetNetwork(trained.model.cpu(), subset).eval()
    # its steps and the operators it does without are of no use here
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        # with gradients no method keeps what it once folded of its weights: it enters the graph
        with warnings.catch_warnings(action="ignore"), torch.enable_grad():
            images = tuple(random_images(trained, subset, seed=0).values())
            return torch.onnx.export(
                network,
                images,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(subset),
                output_names=["logits"],
                verbose=False,
            )
    except Exception as error:
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:200]}"
        method = trained.request.variant
        text = f"{method} cannot be exported ({reason})"
        raise UserError(f"{text}; docs/export.md lists what can be.") from error


def describe(trained: TrainedRun, subset: Sequence[str]) -> dict[str, Any]:
    """Say what a program needs to use a graph: inputs, classes, window, stitching."""
    content = trained.inputs.to_json()
    content["modalities"] = {name: content["modalities"][name] for name in subset}
    told = {"method": trained.request.variant, "trained_on": trained.request.dataset}
    return told | content


def random_images(trained: TrainedRun, subset: Sequence[str], seed: int) -> dict[str, Tensor]:
    """Return normalised images of one window, `(1, C, H, W)` by modality."""
    inputs, generator = trained.inputs, torch.Generator().manual_seed(seed)
    side = inputs.window
    sizes = {name: (1, inputs.channels[name], side, side) for name in subset}
    return {name: torch.randn(size, generator=generator) for name, size in sizes.items()}


def compare(trained: TrainedRun, subset: Sequence[str], path: Path) -> float:
    """Return how far a graph is from PyTorch, as a share of the largest logit."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for seed in range(1, 1 + WINDOWS):
        images = random_images(trained, subset, seed)
        with torch.inference_mode():
            expected = trained.model(images)
        feeds = {name: image.numpy() for name, image in images.items()}
        found = torch.from_numpy(session.run(["logits"], feeds)[0])
        largest = float(expected.abs().max())
        worst = max(worst, float((found - expected).abs().max()) / max(largest, 1e-12))
    return worst
