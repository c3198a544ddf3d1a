"""Networks of one image as a Lightning module: the suite's loss, or that of GeoSeg."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from segmentation_models_pytorch.losses import DiceLoss, SoftCrossEntropyLoss
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.single_stream.network import SingleStreamNetwork
from usererror import UserError


class SingleStream(AnyModalitySegmenter):
    """Segment with a published network of one image.

    Loss terms: `seg`, cross-entropy of the logits, and `auxiliary`, the sum of the same of each
    auxiliary head. With `loss: geoseg` labels are smoothed, and `dice` is a term too.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0, "dice": 1.0, "auxiliary": 0.4}

    @classmethod
    def revision_of(cls, arguments: Mapping[str, Any]) -> int:
        """Count the corrections of what a configuration uses."""
        # subsets without the optical image are no longer scored on an image of zeros
        return 2 if arguments.get("inputs") == "optical" else cls.revision

    def build_network(
        self,
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        loss: Literal["cross_entropy", "geoseg"] = "cross_entropy",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            subsets: what a training step shows; published is `full`.
            loss: `cross_entropy` is the suite's; `geoseg` the one that UNetFormer and DC-Swin were
                published with.
        """
        if loss not in ("cross_entropy", "geoseg"):
            raise UserError(f"loss {loss!r} is neither cross_entropy nor geoseg.")
        self.subsets, self.subsets_per, self.loss = subsets, subsets_per, loss
        self.network = SingleStreamNetwork(self.modalities, self.num_classes, **network)

    def sees(self, modalities: Collection[str]) -> bool:
        """See the base class: with `inputs: optical` the main modality is all that is seen."""
        return any(self.network.sees(m) for m in modalities)

    def entropy(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the cross-entropy of logits (B, K, H, W).

        GeoSeg's is that of labels smoothed by 0.05 and an average over all pixels, in which ignored
        ones count as zeros.
        """
        if self.loss == "cross_entropy":
            return cross_entropy(logits, mask, self.ignore_index)
        smoothed = SoftCrossEntropyLoss(smooth_factor=0.05, ignore_index=self.ignore_index)
        return smoothed(logits, mask)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the terms on the drawn subset of what each sample has."""
        mask, network = batch["mask"], self.network
        encoded = network.encode(batch["image"])
        logits, extras = network.fuse(encoded, self.draw_shown(batch))
        whole = to_image_size(logits, mask.shape[-2:], network.stride)
        terms = {"seg": self.entropy(whole, mask)}
        if self.loss == "geoseg":
            # half the smoothing of the published form: smp counts it twice
            dice = DiceLoss("multiclass", smooth=0.025, ignore_index=self.ignore_index)
            terms["dice"] = dice(whole, mask)
        heads = []
        for guess in extras["auxiliary"]:
            stride = network.stride * logits.shape[-1] // guess.shape[-1]
            heads.append(self.entropy(to_image_size(guess, mask.shape[-2:], stride), mask))
        if heads:
            terms["auxiliary"] = sum(heads[1:], heads[0])
        return terms
