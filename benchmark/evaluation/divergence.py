"""A run that has diverged stops with one line: what it would score looks like a result.

With every weight NaN the first class is predicted everywhere, which is 21 % mIoU of three classes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from usererror import UserError

# a look waits for the device and for the other ranks
EVERY_STEPS = 10
REMEDY = "lower --model.optimizer.lr, or look at the rasters with `imss show`"


class DivergenceStop(L.Callback):
    """Stop training when a loss or a weight is not finite; the evaluation looks at the logits."""

    def __init__(self) -> None:
        self.finite: Tensor | None = None  # of the losses since the last look, on their device

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Note whether the losses of this step are finite, and look at that now and then."""
        losses = [value for name, value in trainer.callback_metrics.items() if "train/" in name]
        # a method that steps its optimisers itself returns no loss; another may log none
        if isinstance(outputs, Mapping) and isinstance(outputs.get("loss"), Tensor):
            losses.append(outputs["loss"])
        if losses:
            finite = all_finite(losses)
            self.finite = finite if self.finite is None else self.finite & finite
        if trainer.global_step % EVERY_STEPS == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the losses and the weights."""
        if trainer.training or trainer.validating:
            self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the losses and the weights."""
        self._look(trainer)
        require_finite(trainer, all_finite(pl_module.parameters()), "the weights are")

    def _look(self, trainer: L.Trainer) -> None:
        finite, self.finite = self.finite, None
        require_finite(trainer, True if finite is None else finite, "the training loss is")


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """Say whether every value is finite, without waiting for the device.

    Example:
        >>> all_finite([torch.ones(2), torch.tensor(float("nan"))])
        tensor(False)
    """
    flags = []
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            # of NaN both are NaN; a mask of all values takes ten times as long on a CPU
            flags.append(torch.stack(tensor.detach().aminmax()).isfinite().all())
    return torch.stack(flags).all() if flags else torch.tensor(True)


def require_finite(trainer: L.Trainer, finite: Tensor | bool, what: str) -> None:
    """Raise a UserError on all ranks if one found something that is not finite."""
    # one rank that raises alone leaves the others waiting for it
    if not trainer.strategy.reduce_boolean_decision(bool(finite), all=True):
        where = f" at step {trainer.global_step}" if trainer.state.fn == "fit" else ""
        raise UserError(f"{what} not finite{where}: no result is recorded; {REMEDY}.")


def check_logits(logits: Tensor) -> None:
    """Raise a UserError where a trained network says something that is not finite of a scene."""
    if not all_finite([logits]):
        raise UserError(
            "the network's logits are not finite: its training diverged, or a raster holds values "
            "far from those that it was trained on."
        )
