"""AnySeg (arXiv 2411.17141) as a Lightning module: the control's network, taught by the control."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.anyseg.losses import class_divergence, feature_divergence, relation_difference
from methods.control.network import ControlNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.taught import TaughtSegmenter


def stack_sensors(pyramids: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Stack M pyramids of maps (B, C, h, w): per scale (M, B, C, h, w)."""
    return [torch.stack(maps) for maps in zip(*pyramids, strict=True)]


class AnySeg(TaughtSegmenter):
    """Train the control on drawn subsets, and on what a teacher makes of all sensors.

    Loss: `seg` + 2 `mad` + 12.5 `umd` + 10 `cmd`, a term of weight 0 is not computed.

    Example:
        >>> options = {"backbone": "pvt_v2_b0", "pretrained": False}
        >>> model = AnySeg({"rgb": 3, "dsm": 1}, num_classes=5, **options).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "seg": 1.0,
        # 50 times the mean over 25 classes, as released, is 2 times the sum over them
        "mad": 2.0,
        # 5 times the sum over the 2.5 sensors that are drawn of four on average
        "umd": 12.5,
        "cmd": 10.0,
    }

    def build_network(
        self,
        pretrained: bool = True,
        subsets: SubsetRule = "size_uniform",
        subsets_per: SubsetScope = "batch",
        umd: Literal["channels", "rows"] = "channels",
        **network: Any,
    ) -> None:
        """Build the student's network.

        Args:
            umd: features are compared as softmax over channels, or as released over image rows.
        """
        self.subsets, self.subsets_per = subsets, subsets_per
        self.umd_dim = {"channels": 2, "rows": 3}[umd]
        self.network = ControlNetwork(
            self.modalities, self.num_classes, pretrained=pretrained, **network
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute `seg` on the drawn subsets, and the distance to the teacher's view of all."""
        images, mask = batch["image"], batch["mask"]
        available, shown = self.available(batch), self.draw_shown(batch)
        encoded = self.network.encode_present(images, shown)
        logits = to_image_size(self.network.fuse(encoded, shown)[0], mask.shape[-2:])
        with torch.no_grad():
            taught = self.teacher.network.encode_present(images, available)
            wanted = self.teacher.network.fuse(taught, available)[0]
            wanted = to_image_size(wanted, mask.shape[-2:])
        terms = {"seg": cross_entropy(logits, mask, self.ignore_index)}
        if self.loss_weights["mad"]:
            terms["mad"] = class_divergence(logits, wanted)
        names = self.network.ordered_names(encoded)
        masks = torch.stack([shown[m] for m in names])
        student, teacher = (stack_sensors([found[m] for m in names]) for found in (encoded, taught))
        if self.loss_weights["umd"]:
            terms["umd"] = feature_divergence(student, teacher, masks, self.umd_dim)
        if self.loss_weights["cmd"]:
            terms["cmd"] = relation_difference(student, teacher, masks)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the encoder's maps before and after their mean."""
        encoded = self.encode(batch["image"])
        return name_feature_maps(self.network.fuse(encoded)[1]["features"], encoded)
