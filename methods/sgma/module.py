"""SGMA as a Lightning module: variants, losses and recipe (paper sections III-E and IV-A)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.parts.diagnostics import name_feature_maps
from methods.parts.losses import cross_entropy
from methods.sgma.network import SGMANetwork


class SGMA(AnyModalitySegmenter):
    """Fuse by semantic prototypes (SGF) and train a branch of sampled single modalities (MAS).

    SGF alone is `mas: false`, the sum of the features `fusion: additive, mas: false`.

    Loss terms: `sgf` and `mas` with the paper's weights 2 and 1 (eq. 14); additive fusion has the
    one term `additive`.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"sgf": 2.0, "mas": 1.0, "additive": 1.0}

    def build_network(self, pretrained: bool = True, **network: Any) -> None:
        """Build the network.

        Args:
            pretrained: ImageNet weights (the paper does not say; see the port ledger).
        """
        self.network = SGMANetwork(
            self.modalities, self.num_classes, pretrained=pretrained, **network
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropy of the fused and of the sampled branch (eqs. 12 and 13)."""
        full, single, _ = self.network.forward_train(batch["image"], self.available(batch))
        name = "additive" if self.network.fusion == "additive" else "sgf"
        terms = {name: cross_entropy(full, batch["mask"], self.ignore_index)}
        if single is not None:
            terms["mas"] = cross_entropy(single, batch["mask"], self.ignore_index)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show features, robustness maps r (eq. 10) and, with MAS, the chances s (eq. 11).

        The features of a modality are what SGF takes in (f_m, after MP), in additive fusion the
        encoder's. `draws` are those of one training step on this batch.
        """
        network, encoded = self.network, self.encode(batch["image"])
        _, extras = network.fuse(encoded)
        single = {}
        for m, scales in encoded.items():
            single[m] = [getattr(entry, "features", entry) for entry in scales]
        found = name_feature_maps(extras["features"], single)
        kinds = {"robustness": extras["robustness"]}
        if network.mas:
            kinds["sampling"], drawn = network.draw_per_scale(extras["robustness"], None)
            numbers = torch.arange(len(encoded), device=drawn[0].device)
            kinds["draws"] = [(index == numbers[:, None]).float() for index in drawn]
        for kind, scales in kinds.items():
            for scale, values in enumerate(scales, 1):
                for m, value in zip(encoded, values, strict=True):
                    found[f"{kind}/{m}/{scale}"] = value
        return found
