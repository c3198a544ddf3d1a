"""Which sensors a training step teaches: each one's share of the gradient at its own pixels."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor


class LearningRatio(L.Callback):
    """Log `train/learning/<modality>`, the norm of a gradient over the sum of those norms.

    The gradient is that of all losses of a step at the modality's normalised pixels, (B, C, H, W).
    There every network has its sensors apart: further on they may share an encoder, meet in the
    first convolution or pass frozen weights. A modality that a step was not shown counts 0 in it;
    a step without any finite gradient is not counted. `averages` are over steps and processes,
    earlier attempts included. Reading gradients changes none of them.

    Example:
        >>> ratio = LearningRatio(["rgb", "dsm"])
        >>> batch = {"image": {m: torch.ones(1, 1, 2, 2) for m in ("rgb", "dsm")}}
        >>> ratio.on_train_batch_start(None, None, batch, 0)
        >>> (3 * batch["image"]["rgb"] - batch["image"]["dsm"]).sum().backward()
        >>> ratio.step_ratios(torch.device("cpu")).tolist()
        [0.75, 0.25]
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = tuple(modalities)
        self.total = torch.zeros(len(self.modalities))
        self.steps = torch.zeros(())
        self.pixels: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        return {"total": self.total.tolist(), "steps": self.steps.item()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the sums of earlier attempts."""
        self.total = torch.tensor(state_dict["total"])
        self.steps = torch.tensor(state_dict["steps"])

    def averages(self) -> dict[str, float]:
        """Average the ratios of all steps; empty where no step had a gradient to measure."""
        if not self.steps:
            return {}
        shares = (self.total / self.steps).tolist()
        return {m: round(share, 4) for m, share in zip(self.modalities, shares, strict=True)}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Have the pixels of this batch keep their gradient."""
        images = batch["image"]
        self.pixels = {m: image.detach().requires_grad_() for m, image in images.items()}
        # a method may write into what it is given, but not into what keeps a gradient
        images.update({m: image.clone() for m, image in self.pixels.items()})

    def step_ratios(self, device: torch.device) -> Tensor:
        """Return the ratios `(M,)` of the gradients of this batch; all 0 without any."""
        norms = []
        for name in self.modalities:
            gradient = self.pixels[name].grad if name in self.pixels else None
            norms.append(torch.zeros((), device=device) if gradient is None else gradient.norm())
        found = torch.stack(norms)
        # of a scaled loss the first gradients may overflow
        usable = found.sum().isfinite() & found.any()
        return torch.where(usable, found / found.sum(), 0.0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Log this step's ratios."""
        ratios = trainer.strategy.reduce(self.step_ratios(pl_module.device), reduce_op="mean")
        self.pixels = {}
        self.total = self.total.to(ratios.device) + ratios
        # 1 where there was a gradient
        self.steps = self.steps.to(ratios.device) + ratios.sum()
        for name, ratio in zip(self.modalities, ratios, strict=True):
            pl_module.log(f"train/learning/{name}", ratio, batch_size=len(batch["mask"]))
