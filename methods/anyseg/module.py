"""AnySeg (arXiv 2411.17141) as a Lightning module: the control's network, taught by the control."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.anyseg.losses import feature_divergence, relation_difference
from methods.anyseg.student import TaughtControl
from methods.control.network import ControlNetwork
from methods.parts.modality_dropout import SubsetRule, SubsetScope


class AnySeg(TaughtControl):
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

    def feature_terms(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        shown: Mapping[str, Tensor],
        mask: Tensor,
    ) -> dict[str, Tensor]:
        """See the base class."""
        masks, terms = torch.stack(list(shown.values())), {}
        if self.loss_weights["umd"]:
            terms["umd"] = feature_divergence(student, teacher, masks, self.umd_dim)
        if self.loss_weights["cmd"]:
            terms["cmd"] = relation_difference(student, teacher, masks)
        return terms
