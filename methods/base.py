"""The contract between methods and the benchmark: encode every modality once, decode any subset of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil, inf, isfinite
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from methods.parts.heads import to_image_size
from methods.parts.optim import Recipe, build
from usererror import UserError

_WORD = (1 << 64) - 1


def mix_seed(*values: int) -> int:
    """One 64-bit seed from several integers: add each to the state and apply splitmix64 (Steele et al. 2014)."""
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state


def named_maps(
    fused: Sequence[Tensor], single: Mapping[str, Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Maps per scale, finest first, under the names that `AnyModalitySegmenter.diagnostics` gives them.

    Args:
        fused: B x C_i x h_i x w_i after the fusion; empty for a method without such maps.
        single: {modality: B x C_i x h_i x w_i} before it.
    """
    named = {f"fused/{scale}": maps for scale, maps in enumerate(fused, 1)}
    for m, pyramid in single.items():
        named |= {f"features/{m}/{scale}": maps for scale, maps in enumerate(pyramid, 1)}
    return named


class AnyModalitySegmenter(L.LightningModule):
    """A segmentation method that takes any non-empty subset of its modalities.

    A subclass builds `network` after `super().__init__`, implements `training_losses`, and names its loss terms with
    their published weights in `default_loss_weights`. A missing modality is a missing key: the configured names less
    the keys of `images` are what is absent. The network is an `AnyModalityNetwork` with `encode(images)` and
    `fuse(encoded, present) -> (logits at its `stride`, extras)`; a method without such a network overrides `encode` and
    `decode`.

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: number K of output channels.
        ignore_index: label value that is neither trained nor scored.
        seed: every draw within a training step depends on (seed, step, micro-batch, rank) only.
        loss_weights: weights of loss terms that differ from `default_loss_weights`.
        optimizer: optimiser and schedule.

    Raises:
        UserError: no modality, or a weight for a loss term the method does not have.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {}
    network: Any
    # largest absolute z-score that `synthesise` can return
    synthesis_reach: float = inf

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008 - frozen, hence safe to share
    ) -> None:
        super().__init__()
        self.recipe = optimizer if isinstance(optimizer, Recipe) else Recipe(**optimizer)
        self.save_hyperparameters(ignore=["optimizer"])
        plain = {**asdict(self.recipe), "betas": list(self.recipe.betas)}
        self.save_hyperparameters({"optimizer": plain})
        if not modalities:
            raise UserError(
                "A method needs at least one modality; the data configuration names none."
            )
        unknown = sorted(set(loss_weights or {}) - set(self.default_loss_weights))
        if unknown:
            known = ", ".join(self.default_loss_weights) or "none"
            raise UserError(
                f"loss_weights names {', '.join(unknown)}; {type(self).__name__} has the terms: {known}."
            )
        self.modalities = {str(name): int(channels) for name, channels in modalities.items()}
        self.num_classes, self.ignore_index, self.seed = num_classes, ignore_index, seed
        self.loss_weights = {**self.default_loss_weights, **(loss_weights or {})}

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Any]:
        """{modality: B x C x H x W} -> {modality: anything}; each entry depends on its own modality only."""
        return self.network.encode(images)

    def decode(self, encoded: Mapping[str, Any], size: tuple[int, int]) -> Tensor:
        """Any non-empty subset of `encode`'s result -> logits before softmax, B x K x H x W for images of `size`."""
        return to_image_size(self.network.fuse(encoded)[0], size, self.network.stride)

    def synthesise(self, encoded: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Tensor]:
        """Modalities that a method paints itself where they are missing; empty for methods that paint nothing.

        Args:
            encoded: any non-empty subset of `encode`'s result.
            size: H x W of the images.

        Returns:
            {missing modality: B x C x H x W}, z-scores like the images, within +-`synthesis_reach`, made from `encoded`
            alone.
        """
        return {}

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """What a method can show of its inner life on a batch, by name; empty for methods that have nothing to show.

        Called in eval mode without gradients. May draw from torch's global generator, which the caller restores.

        Args:
            batch: `image`, {modality: B x C x H x W}, and `mask`, int64 B x H x W of output channels as in training.

        Returns:
            {name: tensor}, names with slashes, scales counted from 1 (the finest). B: a number per image. B x h x w: a
            map, at any resolution. B x C x h x w: features, named `fused/<scale>` after fusion and
            `features/<modality>/<scale>` before it, of one size at one scale. `robustness/<modality>/<scale>` are maps
            that sum to 1 over the modalities, `sampling/<modality>/<scale>` the chances of a draw in training and
            `draws/<modality>/<scale>` whether one such draw took it, 0 or 1.
        """
        return {}

    def available(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """What each sample really has, {modality: bool B}, of the modalities that the batch has images of.

        A batch that does not say (`available`) lacks nothing else.
        """
        given = batch.get("available") or {}
        everything = torch.ones(len(batch["mask"]), dtype=torch.bool, device=batch["mask"].device)
        return {m: given.get(m, everything) for m in self.network.names(batch["image"])}

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Named, unweighted scalar loss terms of a batch; the names are keys of `default_loss_weights`."""
        raise NotImplementedError

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Logits B x K x H x W from any non-empty subset of the modalities."""
        return self.decode(self.encode(images), next(iter(images.values())).shape[-2:])

    def weighted_sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The scalar training loss: the sum of weight times term."""
        return torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()

    def log_losses(
        self, terms: Mapping[str, Tensor], loss: Tensor, batch: Mapping[str, Any]
    ) -> None:
        """Log `train/loss` and every term as `train/<term>`."""
        size = len(batch["mask"])
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        self.log_dict(
            {f"train/{name}": term.detach() for name, term in terms.items()}, batch_size=size
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """One automatic optimisation step; adversarial methods override it, see `manual_update`."""
        terms = self.training_losses(batch)
        loss = self.weighted_sum(terms)
        self.log_losses(terms, loss, batch)
        return loss

    def manual_update(self, index: int, loss: Tensor) -> None:
        """Manual optimisation: backward, one step of optimiser `index` and of its schedule.

        Lightning counts each step of an optimiser that `self.optimizers()` returns as a step of the run: with two of
        them, `max_steps: 300` would end after 150 batches, and draws and schedules would follow that count. So one
        batch is one step: only optimiser 0 goes through Lightning's counting wrapper, once a batch and after the
        others, which the strategy steps directly (the wrapper does the same: precision, loss scaling, hooks).
        """
        optimizer = self.trainer.optimizers[index]
        optimizer.zero_grad()
        self.manual_backward(loss)
        if index == 0:
            wrapped = self.optimizers()
            (wrapped[0] if isinstance(wrapped, list) else wrapped).step()
        else:
            self.trainer.strategy.optimizer_step(optimizer, lambda: None)
        schedulers = self.lr_schedulers()
        (schedulers[index] if isinstance(schedulers, list) else schedulers).step()

    def validation_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Any]:
        """Encode what the batch has; the evaluation callback decodes every subset of it."""
        return {"encoded": self.encode(batch["image"])}

    def test_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Any]:
        """As `validation_step`."""
        return self.validation_step(batch, batch_idx, dataloader_idx)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Reseed torch's global generators, so that a resumed run draws what an uninterrupted one would have drawn."""
        micro = batch_idx % self.trainer.accumulate_grad_batches
        torch.manual_seed(mix_seed(self.seed, self.global_step, micro, self.global_rank))

    def schedule_length(self) -> tuple[int, float]:
        """(optimiser steps of the whole run, optimiser steps per epoch); UserError for a run without an end."""
        total = self.trainer.estimated_stepping_batches
        if not isfinite(total):
            raise UserError(
                "The schedule needs an end: set trainer.max_epochs or trainer.max_steps."
            )
        return int(total), ceil(
            self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        )

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and polynomial decay, stepped per iteration."""
        optimizer, scheduler = build(self.parameters(), self.recipe, *self.schedule_length())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
