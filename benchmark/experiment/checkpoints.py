"""Which checkpoint of a run counts, and loading its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from usererror import UserError

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter


def checkpoint_for(run_dir: Path, rule: str) -> tuple[Path, str]:
    """Find the checkpoint of a selection rule, and the rule that could be applied.

    `best` needs a validation; without one the last weights count.

    Raises:
        UserError: the run has no checkpoint.
    """
    directory = run_dir / "checkpoints"
    if rule == "best" and (directory / "best.ckpt").exists():
        return directory / "best.ckpt", "best"
    if not (directory / "last.ckpt").exists():
        raise UserError(
            f"{directory} has no checkpoint; training ended before its first epoch did."
        )
    return directory / "last.ckpt", "last"


def load_weights(model: AnyModalitySegmenter, checkpoint: Path, name: str) -> None:
    """Put a checkpoint's weights into a model; `name` is the model's for the user.

    Raises:
        UserError: unreadable, or of another method or architecture.
    """
    import pickle

    import torch

    try:
        # weights only: unpickling anything else would run code from the file
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["state_dict"]
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{checkpoint} cannot be read as a checkpoint: {reason}") from error
    try:
        # strict: a silently missing weight would be a random one
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{checkpoint} does not fit {name} ({detail[:120]}); "
            "it belongs to another method, backbone or dataset."
        ) from error
