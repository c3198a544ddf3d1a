"""MetaRS (Remote Sensing of Environment 2025) as a Lightning module: losses and the masks' step."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.metars.network import Entry, MetaRSNetwork
from methods.metars.whitening import Whitening, content_distance, sum_of_variances
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import Masks, on_host
from methods.parts.network import stack_sensors
from usererror import UserError

# windows for the masks are those of epochs that no training reaches
FIRST_EPOCH = 2**31
ALIGNED = slice(2, 4)  # scales whose contents are drawn together


class MetaRS(AnyModalitySegmenter):
    """Predict each sensor, and the content that all share; remove what tells contents apart.

    Loss: `own` + `fused` + `fuse_subset` + `mmr` + 1.25 `align`, the last two from a share of the
    training on, `fuse_subset` with three sensors and more; a term of weight 0 is not computed.

    Example:
        >>> options = {"backbone": "pvt_v2_b0", "pretrained": False}
        >>> model = MetaRS({"rgb": 3, "sar": 1}, num_classes=5, **options).eval()
        >>> model({"sar": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    revision = 2  # the norms of the fusion see all that a step fuses in one batch

    default_loss_weights: ClassVar[dict[str, float]] = {
        "own": 1.0,
        "fused": 1.0,
        "fuse_subset": 1.0,
        "mmr": 1.0,
        "align": 1.25,
    }

    def build_network(
        self,
        pretrained: bool = True,
        start: float = 1600 / 15000,
        windows: int = 256,
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            start: share of the steps after which contents are regularised.
            windows: how many training windows then say which covariances differ between sensors.
        """
        if not 0 <= start <= 1 or windows < 1:
            raise UserError(f"MetaRS: start {start} lies within 0 and 1, windows {windows} from 1.")
        self.start, self.windows = start, windows
        self.network = MetaRSNetwork(
            self.modalities, self.num_classes, pretrained=pretrained, **network
        )
        self.whitening = Whitening(self.network.content.kept_widths)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Compute the masks before the first regularised step, then see the base class.

        A later resumption finds them in the checkpoint; one at this step computes the same ones.
        """
        steps = self.schedule_length()[0]
        before, now = ((self.global_step - back) / steps >= self.start for back in (1, 0))
        if now and not before and batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.fit_masks()
        # reseeds torch, which loading windows has drawn from
        super().on_train_batch_start(batch, batch_idx)

    def training_windows(self) -> Iterator[Any]:
        """Load this process's share of `windows` training windows, in whole batches."""
        loader: Any = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        left = self.windows / self.trainer.world_size
        for epoch in count(FIRST_EPOCH):
            loader.batch_sampler.set_epoch(epoch)
            for batch in loader:
                yield self.trainer.strategy.batch_to_device(batch, self.device)
                left -= len(batch["mask"])
                if left <= 0:
                    return

    @torch.no_grad()
    def fit_masks(self) -> None:
        """Measure on training windows how covariances vary between sensors, in all processes."""
        content = self.network.content.eval()
        totals: list[Any] = [0] * len(content.kept_widths)
        for batch in self.training_windows():
            there, kept = self.available(batch), content(batch["image"])[1]
            shown = torch.stack(list(there.values()))
            for number in range(len(totals)):
                maps = torch.stack([kept[m][number] for m in there])
                totals[number] = totals[number] + sum_of_variances(maps, shown)
        content.train()
        # the clusters do not depend on the number of images
        self.whitening.fit([self.trainer.strategy.reduce(one, reduce_op="sum") for one in totals])

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the predictions' terms, and from `start` on the regularisers."""
        mask, available = batch["mask"], self.available(batch)
        encoded = self.network.encode_present(batch["image"], available)
        own = []
        for m, entry in encoded.items():
            own.append(self._segment(entry.logits, mask, available[m]))
        terms = {"own": torch.stack(own).sum()}
        if len(encoded) > 1:
            terms |= self._fused_terms(encoded, available, mask)
        if len(encoded) > 1 and self.progress >= self.start:
            shown = torch.stack([available[m] for m in encoded])
            if self.loss_weights["mmr"]:
                kept = stack_sensors([entry.whitened for entry in encoded.values()])
                terms["mmr"] = self.whitening(kept, shown)
            if self.loss_weights["align"]:
                contents = stack_sensors([entry.content[ALIGNED] for entry in encoded.values()])
                terms["align"] = content_distance(contents, shown)
        return terms

    def _segment(self, logits: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy of logits at stride 4 on some samples, bool (B,)."""
        labels = torch.where(rows[:, None, None], mask, self.ignore_index)
        return cross_entropy(to_image_size(logits, mask.shape[-2:]), labels, self.ignore_index)

    def _fused_terms(
        self, encoded: Mapping[str, Entry], available: Mapping[str, Tensor], mask: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropy of the fused contents on samples with two sensors and more, by view."""
        views = {"fused": available}
        if len(encoded) > 2 and self.loss_weights["fuse_subset"]:
            views["fuse_subset"] = draw_fusable(available)
        logits = self.network.fused_head(self.network.fuse_contents(encoded, *views.values()))
        terms = {}
        for (name, shown), part in zip(views.items(), logits.chunk(len(views)), strict=True):
            terms[name] = self._segment(part, mask, torch.stack(list(shown.values())).sum(0) > 1)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the contents before and after their fusion."""
        encoded = self.encode(batch["image"])
        contents = {m: entry.content for m, entry in encoded.items()}
        return name_feature_maps(self.network.fuse_contents(encoded, None), contents)


def draw_fusable(available: Mapping[str, Tensor]) -> Masks:
    """Draw for every sample a subset of two sensors and more, uniformly.

    A sample that has fewer than two of them shows all that it has.
    """
    numbers = [number for number in range(2 ** len(available)) if number.bit_count() > 1]
    have = torch.stack(list(on_host(available).values()))
    # on the host, the same on every device
    drawn = torch.tensor(numbers)[torch.randint(len(numbers), have.shape[1:], device="cpu")]
    places = torch.arange(len(have))[:, None]
    shown = have & (drawn >> places & 1).bool()
    rows = torch.where(shown.sum(0) < 2, have, shown)
    return Masks(dict(zip(available, rows, strict=True)), next(iter(available.values())).device)
