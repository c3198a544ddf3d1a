"""Which sensors a training step teaches: each one's share of the gradient at encoded features."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


class LearningRatio(L.Callback):
    """Log `train/learning/<modality>`, the norm of a gradient over the sum of those norms.

    The gradient is that of the training loss at what `network.encode` returns for a modality (at
    all scales together, and at all calls within a step), so it is defined for methods that share an
    encoder too. A modality that a step was not shown counts 0 there; a step in which the features
    of one carry no gradient, since no trained weight made them, is not counted. `averages` are over
    steps and processes, earlier attempts included. Reading gradients changes none of them.

    Example:
        >>> module = torch.nn.Identity()
        >>> module.encode = lambda images: {m: 1.0 * image for m, image in images.items()}
        >>> ratio = LearningRatio(["rgb", "dsm"])
        >>> ratio.on_fit_start(None, module)
        >>> features = module.encode({m: torch.ones(1, requires_grad=True) for m in ("rgb", "dsm")})
        >>> (3 * features["rgb"] - features["dsm"]).backward()
        >>> ratio.take_step().tolist()
        [0.75, 0.25]
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = tuple(modalities)
        self.total = torch.zeros(len(self.modalities))
        self.steps = torch.zeros(())
        self.squares: dict[str, Tensor] = {}
        self.watched = False  # whether the features of all modalities ever carried a gradient
        self.blind = False  # whether those of one did not in this step

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

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at what the network encodes from now on."""
        owner: Any = getattr(pl_module, "network", pl_module)
        encode = owner.encode

        def watch(images: Mapping[str, Tensor]) -> dict[str, Any]:
            encoded: dict[str, Any] = encode(images)
            if pl_module.training and torch.is_grad_enabled():
                self._watch(encoded)
            return encoded

        self.owner = owner
        owner.encode = watch

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the network as it was."""
        del self.owner.encode

    def _watch(self, encoded: Mapping[str, Any]) -> None:
        carrying: dict[str, list[Tensor]] = {}
        for name, entry in encoded.items():
            leaves = [leaf for leaf in tree_leaves(entry) if isinstance(leaf, Tensor)]
            carrying[name] = [features for features in leaves if features.requires_grad]
        # a share of 0 would say that a sensor learns nothing where it has nothing to learn
        if not all(carrying.values()):
            self.blind = True
            return
        self.watched = True
        for name, entries in carrying.items():
            for features in entries:
                features.register_hook(partial(self._add, name))

    def _add(self, name: str, gradient: Tensor) -> None:
        square = gradient.detach().float().square().sum()
        self.squares[name] = self.squares[name] + square if name in self.squares else square

    def take_step(self, device: torch.device | None = None) -> Tensor:
        """Return the ratios `(M,)` of the gradients since the last call; all 0 without any."""
        nothing = torch.zeros((), device=device)
        found = {} if self.blind else self.squares
        squares = [found.get(name, nothing) for name in self.modalities]
        self.squares, self.blind = {}, False
        norms = torch.stack(squares).sqrt()
        # of a scaled loss the first gradients may overflow
        usable = norms.sum().isfinite() & norms.any()
        return torch.where(usable, norms / norms.sum(), 0.0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Log this step's ratios."""
        if not self.watched:
            return
        ratios = trainer.strategy.reduce(self.take_step(pl_module.device), reduce_op="mean")
        self.total = self.total.to(ratios.device) + ratios
        # 1 where there was a gradient
        self.steps = self.steps.to(ratios.device) + ratios.sum()
        for name, ratio in zip(self.modalities, ratios, strict=True):
            pl_module.log(f"train/learning/{name}", ratio, batch_size=len(batch["mask"]))
