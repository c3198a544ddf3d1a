"""Which checkpoint of a run counts, and loading its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from usererror import UserError

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from methods.base import AnyModalitySegmenter


def select(cli: BenchCLI) -> tuple[Path, str]:
    """The checkpoint that the cell's selection rule names, see `selected_checkpoint`."""
    return selected_checkpoint(cli.run_dir, cli.cell.selection)


def selected_checkpoint(run_dir: Path, rule: str) -> tuple[Path, str]:
    """The checkpoint that a selection rule names, and the rule that could be applied (`best` needs a validation).

    Raises:
        UserError: the run has none.
    """
    directory = run_dir / "checkpoints"
    if rule == "best" and (directory / "best.ckpt").exists():
        return directory / "best.ckpt", "best"
    if not (directory / "last.ckpt").exists():
        raise UserError(
            f"{directory} has no checkpoint; training ended before its first epoch did."
        )
    return directory / "last.ckpt", "last"


def load_weights(cli: BenchCLI, checkpoint: Path) -> None:
    """Put a checkpoint's weights into the model of a cell, see `load_state`."""
    load_state(cli.model, checkpoint, f"{cli.cell.variant} with backbone {cli.backbone}")


def load_state(model: AnyModalitySegmenter, checkpoint: Path, name: str) -> None:
    """Put a checkpoint's weights into a model; `name` is the model's for the user.

    Raises:
        UserError: unreadable, or of another method or architecture.
    """
    import pickle

    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["state_dict"]
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, EOFError) as error:
        raise UserError(
            f"{checkpoint} cannot be read as a checkpoint: {str(error).splitlines()[0]}"
        ) from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{checkpoint} does not fit {name} ({detail[:120]}); it belongs to another method, backbone or dataset."
        ) from error
