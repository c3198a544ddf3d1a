"""What the benchmark asks of a method: encode every modality once, decode any subset of them."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from math import ceil, isfinite
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from methods.parts.heads import to_image_size
from methods.parts.modality_dropout import Masks, SubsetRule, SubsetScope, draw_subsets
from methods.parts.optim import Recipe, build_optimizer
from methods.parts.seeds import mix_seed
from usererror import UserError

LINKED = ("ignore_index", "seed")  # what the suite sets for every method


class AnyModalitySegmenter(L.LightningModule):
    """A segmentation method that takes any non-empty subset of its modalities.

    A subclass implements `build_network` and `training_losses` and names its loss terms with their
    published weights in `default_loss_weights`; a network that is no `AnyModalityNetwork` needs
    `encode` and `decode` too. A missing modality is a missing key.

    Args:
        ignore_index: label value that is neither trained nor scored.
        seed: every draw within a step depends on (seed, step, micro-batch, rank) only.
        loss_weights: weights of loss terms that differ from `default_loss_weights`.
        optimizer: rate, decay and schedule; the default is the benchmark's common recipe for every
            method. What a paper trains with stands in `configs/method`, from where commands and
            `build_model` take it; here it would become part of the identity of published runs.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {}
    # raised when the same configuration gives other numbers than before: part of the identity
    revision: int = 1
    network: Any
    progress: float = 0.0  # share of the training that is done
    subsets: SubsetRule = "full"
    subsets_per: SubsetScope = "sample"

    @classmethod
    def revision_of(cls, arguments: Mapping[str, Any]) -> int:
        """Return the revision of what these arguments of the constructor build."""
        return cls.revision

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a constructor that the seed and the ignored label cannot reach."""
        super().__init_subclass__(**options)
        accepted = inspect.signature(cls.__init__).parameters
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values()):
            return
        # the configuration skips what a constructor lacks: the seed would be 0 in every run
        if missing := [name for name in LINKED if name not in accepted]:
            lacks = f"{cls.__name__}.__init__ has no argument {' and '.join(missing)}"
            remedy = "take **options and pass them to super().__init__, or override build_network"
            raise UserError(f"{lacks}, which the suite sets: {remedy}.")

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008 - frozen, hence safe to share
        **options: Any,
    ) -> None:
        super().__init__()
        self.recipe = optimizer if isinstance(optimizer, Recipe) else Recipe(**optimizer)
        self.save_hyperparameters(ignore=["optimizer"])
        # a checkpoint is read with weights_only, which refuses our own classes
        plain = {**asdict(self.recipe), "betas": list(self.recipe.betas)}
        self.save_hyperparameters({"optimizer": plain})
        if not modalities:
            raise UserError("A method needs at least one modality; the data config names none.")
        unknown = sorted(set(loss_weights or {}) - set(self.default_loss_weights))
        if unknown:
            has = f"{type(self).__name__} has: {', '.join(self.default_loss_weights) or 'none'}."
            raise UserError(f"loss_weights names {', '.join(unknown)}; {has}")
        self.modalities = {str(name): int(channels) for name, channels in modalities.items()}
        self.num_classes, self.ignore_index, self.seed = num_classes, ignore_index, seed
        self.loss_weights = {**self.default_loss_weights, **(loss_weights or {})}
        # jsonargparse follows this call into the subclass, and from there into its network: an
        # option is declared once, where it is used, and is a flat key of the config
        self.build_network(**options)

    def build_network(self, **options: Any) -> None:
        """Set `network` from the method's own options."""
        if options:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(options)}")

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Any]:
        """Encode {modality: (B, C, H, W)}; each entry depends on its own modality only."""
        return self.network.encode(images)

    def decode(self, encoded: Mapping[str, Any], size: Sequence[int]) -> Tensor:
        """Predict logits (B, K, H, W) of images of `size` from any subset of `encode`'s result.

        They are float32 whatever the precision of the network.
        """
        return to_image_size(self.network.fuse(encoded)[0], size, self.network.stride)

    def sees(self, modalities: Collection[str]) -> bool:
        """Tell whether anything of these modalities reaches the network; else it has no score."""
        return True

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Predict logits (B, K, H, W) from any non-empty subset of the modalities."""
        return self.decode(self.encode(images), next(iter(images.values())).shape[-2:])

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show inner features of a batch by name; nothing by default.

        Called in eval mode without gradients; the caller restores torch's global generator. A value
        is per image a number (B,), a map (B, h, w) of any size, or features (B, C, h, w) named
        `fused/<scale>` and `features/<modality>/<scale>`, scales counted from 1, the finest.
        `robustness/<modality>/<scale>` sum to 1 over the modalities, and so do the chances
        `sampling/...` of a draw in training and its outcome `draws/...`, which is 0 or 1.
        """
        return {}

    def available(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Say which images of a batch are real, {modality: bool (B,)}; all, unless it says so."""
        given = batch.get("available") or {}
        everything = torch.ones(len(batch["mask"]), dtype=torch.bool)
        masks = {}
        for m in self.modalities:
            if m in batch["image"]:
                # the suite's own batches leave them on the host
                masks[m] = torch.as_tensor(given.get(m, everything)).cpu()
        return Masks(masks, batch["mask"].device)

    def draw_shown(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Draw what a training step shows of each sample by the rule `subsets`."""
        return draw_subsets(self.subsets, self.available(batch), self.subsets_per)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute unweighted scalar loss terms, named as in `default_loss_weights`."""
        raise NotImplementedError

    def weighted_sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Sum weight times term: the scalar training loss."""
        return torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()

    def log_losses(self, terms: Mapping[str, Tensor], loss: Tensor, batch: Any) -> None:
        """Log `train/loss` and every term as `train/<term>`."""
        size = len(batch["mask"])
        for name, term in {"loss": loss, **terms}.items():
            # not for Lightning's bar: it reads the values whenever a callback looks at any
            self.log(f"train/{name}", term.detach(), batch_size=size)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """Take one automatic optimisation step."""
        terms = self.training_losses(batch)
        loss = self.weighted_sum(terms)
        self.log_losses(terms, loss, batch)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Encode what the batch has; the evaluation callback decodes every subset of it."""
        return {"encoded": self.encode(batch["image"])}

    test_step = validation_step

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Reseed torch, so that a resumed run draws what an uninterrupted one would have drawn."""
        self.progress = self.global_step / self.schedule_length()[0]
        # micro-batches of one accumulated step must not draw alike
        micro = batch_idx % self.trainer.accumulate_grad_batches
        torch.manual_seed(mix_seed(self.seed, self.global_step, micro, self.global_rank))

    def schedule_length(self) -> tuple[int, float]:
        """Count the optimiser steps of the whole run, and those of an epoch."""
        total = self.trainer.estimated_stepping_batches
        if not isfinite(total):
            raise UserError("The schedule needs an end: set trainer.max_epochs or max_steps.")
        trainer = self.trainer
        if not isfinite(trainer.num_training_batches):
            # Lightning counts batches late where only the steps are limited (`max_epochs: -1`)
            trainer.fit_loop.setup_data()
        return int(total), ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)

    def configure_optimizers(self) -> Any:
        """Set up AdamW with warm-up and polynomial decay, stepped per iteration."""
        steps = self.schedule_length()
        optimizer, schedule = build_optimizer(self.parameters(), self.recipe, *steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
