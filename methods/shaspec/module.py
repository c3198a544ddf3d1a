"""ShaSpec as a Lightning module: subsets, losses and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter, named_maps
from methods.parts.dice import segmentation_loss
from methods.parts.heads import upsample
from methods.parts.modality_dropout import SubsetRule, SubsetScope, draw_subsets
from methods.parts.optim import Recipe
from methods.parts.precision import at_least_float32
from methods.shaspec.losses import Pairs, alignment, domain_classification
from methods.shaspec.network import PUBLISHED, Missing, ShaSpecNetwork
from usererror import UserError


def _constant_unless(flag: Tensor, part: Tensor) -> Tensor:
    """B x ...; no gradient passes where `flag` B is false."""
    return torch.where(flag.view(-1, *[1] * (part.ndim - 1)), part, part.detach())


class ShaSpec(AnyModalitySegmenter):
    """ShaSpec for segmentation.

    Loss terms: `seg`, Dice and weighted cross-entropy of a random subset; `dao`, the distance between the shared
    features of its modalities; `dco`, the cross-entropy of telling them apart by their specific features (paper eq. 9).

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K.
        ignore_index: label value without loss.
        seed: see the base class.
        loss_weights: see the base class; the defaults of `dao` and `dco` are the paper's alpha and beta.
        optimizer: see the base class.
        backbone: `resnet50_w64` is published; another even number scales all widths; `pyramid` is the light variant,
            mmFormer's thin encoders and decoder.
        missing: `mean` of the available shared features, or that of the `first` available modality.
        pooling_norm: keep the norm that empties the ASPP's image-pooling view.
        pairs: of modalities in `dao`: the mean over `all`, or the sum over the `ring` of neighbours.
        blank_terms: `dao` and `dco` count missing modalities too, by the features of images of zeros. These are taken
            as constants, because their gradient overflows (see `SkipDecoder.absent`).
        as_released: the released code's form of the four options above, whatever they say: `first`, true, `ring`, true.
        subsets: what a training step shows.
        subsets_per: a draw per sample, or one per batch.
        warmup_share: share of the training, from its start, in which all modalities are shown (released: 80 / 180).

    Raises:
        UserError: an option that does not exist.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0, "dao": 0.1, "dco": 0.02}

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008 - frozen, hence safe to share
        backbone: str = PUBLISHED,
        missing: Missing = "mean",
        pooling_norm: bool = False,
        pairs: Pairs = "all",
        blank_terms: bool = False,
        as_released: bool = False,
        subsets: SubsetRule = "any_subset",
        subsets_per: SubsetScope = "batch",
        warmup_share: float = 0.0,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        if as_released:
            missing, pooling_norm, pairs, blank_terms = "first", True, "ring", True
        if pairs not in ("all", "ring"):
            raise UserError(f"ShaSpec's pairs {pairs!r} are neither all nor ring.")
        self.pairs, self.blank_terms = pairs, blank_terms
        self.subsets, self.subsets_per = subsets, subsets_per
        self.warmup_share, self.progress = warmup_share, 0.0
        self.network = ShaSpecNetwork(self.modalities, num_classes, backbone, missing, pooling_norm)

    def decode(self, encoded: Mapping[str, Any], size: tuple[int, int]) -> Tensor:
        """Any non-empty subset of `encode`'s result -> logits before softmax, B x K x H x W for images of `size`."""
        return self._at_size(self.network.fuse(encoded)[0], size)

    def _at_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits of the padded image at the network's stride -> those of the image."""
        padded = [side * self.network.stride for side in logits.shape[-2:]]
        return upsample(logits, (padded[0], padded[1]))[..., : size[0], : size[1]]

    def shown(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Which modalities this step shows of which sample, {modality: bool B}: a draw from what each sample has."""
        rule = "full" if self.progress < self.warmup_share else self.subsets
        return draw_subsets(rule, self.available(batch), self.subsets_per)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The three terms of a drawn subset."""
        images, present, mask = batch["image"], self.shown(batch), batch["mask"]
        if self.blank_terms:
            images, present = self._blanked(images, present)
        encoded = self.encode(images)
        logits = self._at_size(self.network.fuse(encoded, present)[0], mask.shape[-2:])
        flags = torch.stack([present[m] for m in encoded])
        shared = [entry.shared for entry in encoded.values()]
        vectors = [entry.vector for entry in encoded.values()]
        if self.blank_terms:
            shared = [
                _constant_unless(flag, part) for flag, part in zip(flags, shared, strict=True)
            ]
            vectors = [
                _constant_unless(flag, part) for flag, part in zip(flags, vectors, strict=True)
            ]
            flags = torch.ones_like(flags)
        scores = [self.network.classifier(vector) for vector in vectors]
        indices = [self.network.modalities.index(m) for m in encoded]
        return {
            "seg": segmentation_loss(at_least_float32(logits).softmax(1), mask, self.ignore_index),
            "dao": alignment(shared, flags, self.pairs),
            "dco": domain_classification(scores, indices, flags),
        }

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: f of each modality (eq. 2), at one scale; they are decoded side by side."""
        return named_maps(
            [], {m: [entry.fused] for m, entry in self.encode(batch["image"]).items()}
        )

    def _blanked(
        self, images: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All configured modalities, zeros where a sample is not shown one, and what each sample is shown."""
        first = next(iter(images.values()))
        nowhere = torch.zeros(len(first), dtype=torch.bool, device=first.device)
        flags = {m: present.get(m, nowhere) for m in self.modalities}
        blank = {
            m: first.new_zeros(len(first), c, *first.shape[-2:]) for m, c in self.modalities.items()
        }
        return {
            m: torch.where(flags[m][:, None, None, None], images.get(m, zeros), zeros)
            for m, zeros in blank.items()
        }, flags

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Reseed, and note how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.progress = self.global_step / self.schedule_length()[0]
