"""GEMMNet as a Lightning module: variants, losses, two ways to train against a discriminator."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from methods.base import AnyModalitySegmenter
from methods.gemmnet.losses import (
    SynthesisPair,
    absolute_error,
    discriminator_loss,
    generator_adversarial_loss,
    mean_over_modalities,
    squared_error,
)
from methods.gemmnet.network import Condition, Encoded, GEMMNetwork, ScaleHeads
from methods.parts.conv_unet import NormKind
from methods.parts.diagnostics import name_feature_maps
from methods.parts.losses import class_probabilities, segmentation_loss
from methods.parts.modality_dropout import (
    Masks,
    SubsetRule,
    SubsetScope,
    draw_subsets,
    on_host,
    row_numbers,
)
from methods.parts.network import as_mask
from methods.parts.optim import build_optimizer
from methods.parts.precision import at_least_float32
from methods.parts.tokens import Layout
from usererror import UserError

# pix2pix, and the disabled lines of the released script
ADVERSARIAL_BETAS = (0.5, 0.999)
RELEASED_SGD: dict[str, Any] = {"lr": 1e-3, "momentum": 0.99, "nesterov": True}
RELEASED_PERIOD = 15  # optimiser steps between warm restarts


@contextmanager
def frozen_parameters(module: nn.Module) -> Iterator[None]:
    """Within, losses send gradients through `module` but none to its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


class GEMMNet(AnyModalitySegmenter):
    """Generate the missing modalities, then segment the complete set.

    Loss terms: `fused`, `scales` and `unimodal` (sums of Dice plus weighted cross-entropy, eq. 6
    and 7); of the painted pictures, averaged over the modalities painted, `l2` (eq. 8) or
    `adversarial`, `l1` and `discriminator` (eq. 9, with the released weights). With `update:
    alternating_adam` a batch is one step of the discriminators on detached pictures, then one of
    everything else against the new, frozen discriminators; it counts as one step of the run.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "fused": 1.0,
        "scales": 1.0,
        "unimodal": 1.0,
        "l2": 1.0,
        # released: 0.05 (adversarial + 100 l1 + discriminator)
        "adversarial": 0.05,
        "l1": 5.0,
        "discriminator": 0.05,
    }

    def build_network(
        self,
        rec: Literal["cgan", "l2"] = "cgan",
        norm: NormKind = "instance",
        layout: Layout = "modality_major",
        scale_heads: ScaleHeads = "unified",
        d_condition: Condition = "source",
        update: Literal["alternating_adam", "joint_sgd"] = "alternating_adam",
        rec_when: Literal["always", "missing"] = "always",
        as_released: bool = False,
        discriminator_lr: float = 2e-4,
        subsets: SubsetRule = "any_subset",
        subsets_per: SubsetScope = "batch",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            rec: generate against discriminators (`cgan`) or with the squared error alone (`l2`).
            d_condition: what a discriminator sees beside a picture, `source` or `target`.
            update: `alternating_adam`, or `joint_sgd`: one SGD for all parameters, with warm
                restarts every 15 steps.
            rec_when: train generators in every step (`always`) or for the modalities that were
                masked (`missing`).
            as_released: replaces the six options above by the released behaviour.
            discriminator_lr: rate of the discriminators' Adam; its schedule has the recipe's shape.
            subsets: what a training step shows.
            subsets_per: one draw for the whole batch or for each sample.
        """
        if len(self.modalities) < 2:
            raise UserError("GEMMNet makes a modality from the others: configure at least two.")
        if as_released:
            norm, layout, scale_heads = "layer", "sequential", "decoder"
            d_condition, update, rec_when = "target", "joint_sgd", "missing"
        self.adversarial, self.update, self.rec_when = rec == "cgan", update, rec_when
        self.discriminator_lr = discriminator_lr
        self.subsets, self.subsets_per = subsets, subsets_per
        self.automatic_optimization = not (self.adversarial and update == "alternating_adam")
        self.network = GEMMNetwork(
            self.modalities,
            self.num_classes,
            adversarial=self.adversarial,
            norm=norm,
            layout=layout,
            scale_heads=scale_heads,
            condition=d_condition,
            **network,
        )
        self.synthesis_reach = self.network.input_range

    # ---- using it --------------------------------------------------------------------------------

    def synthesise(self, encoded: Mapping[str, Encoded], size: Sequence[int]) -> dict[str, Tensor]:
        """Generate the missing modalities as z-scores of the image's size."""
        painted = self.network.synthesise(encoded)
        height, width, reach = *size, self.synthesis_reach
        return {m: at_least_float32(x)[..., :height, :width] * reach for m, x in painted.items()}

    # ---- training --------------------------------------------------------------------------------

    def synthesise_batch(
        self, batch: Mapping[str, Any]
    ) -> tuple[dict[str, Encoded], list[SynthesisPair]]:
        """Draw what the batch shows, run every generator, and read the real and painted images.

        Returns an entry per modality, painted where it is not shown; and for each generator with a
        target what its losses need.
        """
        network, available = self.network, self.available(batch)
        images = {m: network.scale_images(batch["image"][m]) for m in available}
        shown = draw_subsets(self.subsets, available, self.subsets_per)
        # what is run depends on the masks, which the host has
        have, known, device = on_host(available), on_host(shown), batch["mask"].device
        nobody = torch.zeros_like(next(iter(known.values())))
        entries, pairs = {}, []
        for m in self.modalities:
            seen = _sources(m, known, have)
            rows = torch.stack([nobody, *seen.values()]).any(0)
            visible = known.get(m, nobody)
            image = torch.where(as_mask(shown[m]), images[m], 0.0) if m in images else None
            if rows.any():
                painted = row_numbers(rows, device)
                source = network.generator_source(m, images, Masks(seen, device))[painted]
                fake = network.generators[m](source)
                wanted = rows & have.get(m, nobody)
                # released: a generator learns only in steps that masked its modality
                if self.rec_when == "missing":
                    wanted = wanted & ~visible
                if wanted.any():
                    # constants of the losses, also where the images keep a gradient
                    real = images[m][row_numbers(wanted, device)].detach()
                    kept = row_numbers(wanted[rows], device)
                    seen_beside = real if network.condition == "target" else source[kept].detach()
                    pairs.append(SynthesisPair(m, seen_beside, fake[kept], real))
                if not visible.all():
                    whole = fake.new_zeros(len(rows), *fake.shape[1:]).index_put((painted,), fake)
                    image = whole if image is None else torch.where(as_mask(shown[m]), image, whole)
            entries[m] = network.encode_image(m, image)
        return entries, pairs

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the maps of five scales, of single modalities and of the complete set fused."""
        encoded = self.encode(batch["image"])
        fused = self.network.fused_maps(encoded) if len(encoded) == len(self.modalities) else []
        return name_feature_maps(fused, {m: one.maps for m, one in encoded.items()})

    def segmentation_terms(self, entries: Mapping[str, Encoded], mask: Tensor) -> dict[str, Tensor]:
        """The terms of eq. 6 but the reconstruction."""
        logits, coarse, unimodal = self.network.segment_complete(entries, with_auxiliary=True)

        def output_loss(scores: Sequence[Tensor]) -> Tensor:
            maps = (class_probabilities(x, logits.shape[-2:], mask.shape[-2:]) for x in scores)
            return torch.stack([segmentation_loss(p, mask, self.ignore_index) for p in maps]).sum()

        terms = {"fused": output_loss([logits])}
        if unimodal:
            terms |= {"scales": output_loss(coarse), "unimodal": output_loss(unimodal)}
        return terms

    def generator_terms(self, pairs: Sequence[SynthesisPair], like: Tensor) -> dict[str, Tensor]:
        """What the generators are trained with."""
        if not self.adversarial:
            return {"l2": mean_over_modalities(pairs, squared_error, like)}
        fooled = partial(generator_adversarial_loss, discriminators=self.network.discriminators)
        return {
            "adversarial": mean_over_modalities(pairs, fooled, like),
            "l1": mean_over_modalities(pairs, absolute_error, like),
        }

    def discriminator_terms(
        self, pairs: Sequence[SynthesisPair], like: Tensor
    ) -> dict[str, Tensor]:
        """What the discriminators are trained with; empty without them."""
        if not self.adversarial:
            return {}
        caught = partial(discriminator_loss, discriminators=self.network.discriminators)
        return {"discriminator": mean_over_modalities(pairs, caught, like)}

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute all terms at once, as the joint update minimises them."""
        entries, pairs = self.synthesise_batch(batch)
        terms = self.segmentation_terms(entries, batch["mask"])
        like = terms["fused"]
        return terms | self.discriminator_terms(pairs, like) | self.generator_terms(pairs, like)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """The base class's step, or the discriminators' and then everybody else's."""
        if self.automatic_optimization:
            return super().training_step(batch, batch_idx)
        entries, pairs = self.synthesise_batch(batch)
        terms = self.segmentation_terms(entries, batch["mask"])
        critics = self.network.discriminators
        spotted = self.discriminator_terms(pairs, terms["fused"])
        # without any pair the loss has no graph; every process must still take both steps
        anchor = 0.0 * next(critics.parameters()).sum()
        self.manual_update(1, self.weighted_sum(spotted) + anchor)
        with frozen_parameters(critics):
            terms |= self.generator_terms(pairs, terms["fused"])
            self.manual_update(0, self.weighted_sum(terms))
        terms |= spotted
        self.log_losses(terms, self.weighted_sum(terms), batch)
        return None

    def manual_update(self, index: int, loss: Tensor) -> None:
        """Go backward, and step optimiser `index` and its schedule."""
        optimizer = self.trainer.optimizers[index]
        optimizer.zero_grad()
        self.manual_backward(loss)
        # Lightning counts each step of what `self.optimizers()` returns as a step of the run: with
        # two of them `max_steps: 300` would end after 150 batches, so only number 0 is counted
        if index == 0:
            wrapped = self.optimizers()
            (wrapped[0] if isinstance(wrapped, list) else wrapped).step()
        else:
            # as the counting wrapper does: precision, loss scaling, hooks
            self.trainer.strategy.optimizer_step(optimizer, lambda: None)
        schedulers = self.lr_schedulers()
        (schedulers[index] if isinstance(schedulers, list) else schedulers).step()

    def configure_optimizers(self) -> Any:
        """Set up one SGD with warm restarts, the base's recipe, or two Adams."""
        if self.update == "joint_sgd":
            optimizer = SGD(self.parameters(), **RELEASED_SGD)
            schedule = CosineAnnealingWarmRestarts(optimizer, T_0=RELEASED_PERIOD)
            per_step = {"scheduler": schedule, "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": per_step}
        if self.automatic_optimization:
            return super().configure_optimizers()
        critics = list(self.network.discriminators.parameters())
        own = {id(p) for p in critics}
        # the discriminators are stepped by an Adam of their own
        others = [p for p in self.parameters() if id(p) not in own]
        rate, steps = self.discriminator_lr, self.schedule_length()
        adam = replace(self.recipe, lr=rate, betas=ADVERSARIAL_BETAS, weight_decay=0.0)
        first, first_schedule = build_optimizer(others, self.recipe, *steps)
        second, second_schedule = build_optimizer(critics, adam, *steps)
        return [first, second], [first_schedule, second_schedule]


def _sources(
    target: str, shown: Mapping[str, Tensor], available: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """List what `target` is generated from in training, {other modality: bool (B,)}."""
    others = [m for m in shown if m != target]
    if not others:
        return {}
    # only its own is shown: for the reconstruction loss it is painted from all that the sample has
    alone = ~torch.stack([shown[m] for m in others]).any(0)
    return {m: torch.where(alone, available[m], shown[m]) for m in others}
