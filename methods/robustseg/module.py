"""RobustSeg (arXiv 2505.12861, version 1) as a Lightning module: AnySeg with other terms."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.anyseg.losses import feature_divergence
from methods.anyseg.student import TaughtControl
from methods.control.network import ControlNetwork
from methods.parts.modality_dropout import SubsetRule, SubsetScope, on_host, send
from methods.robustseg.losses import (
    add_noise,
    draw_partners,
    prototype_divergence,
    released_regulariser,
)


class RobustSeg(TaughtControl):
    """Train the control on drawn subsets, and on a teacher's class means and noisy features.

    Loss: `seg` + 2 `mad` + 25 `hpd` + 0.1 `rrm`, a term of weight 0 is not computed.

    Example:
        >>> options = {"backbone": "pvt_v2_b0", "pretrained": False}
        >>> model = RobustSeg({"rgb": 3, "dsm": 1}, num_classes=5, **options).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "seg": 1.0,
        "mad": 2.0,
        # about what 100 times the released term starts with
        "hpd": 25.0,
        "rrm": 0.1,
    }

    def build_network(
        self,
        pretrained: bool = True,
        subsets: SubsetRule = "size_uniform",
        subsets_per: SubsetScope = "batch",
        prototypes: Literal["means", "released"] = "means",
        pairing: Literal["random", "same"] = "random",
        rrm: Literal["channels", "released"] = "channels",
        **network: Any,
    ) -> None:
        """Build the student's network.

        Args:
            prototypes: see `prototype_divergence`; `released` had the weight 100.
            pairing: class means are compared with those of a sensor drawn among the shown ones, or
                of the same sensor.
            rrm: divergence of noisy features over channels, or as `released` over image rows with
                a factor that grows with the size of a map; that had the weight 1.
        """
        self.subsets, self.subsets_per = subsets, subsets_per
        self.released_prototypes, self.released_rrm = prototypes == "released", rrm == "released"
        self.pairing = pairing
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
        if self.loss_weights["hpd"]:
            partners = None
            if self.pairing == "random":
                drawn = draw_partners(torch.stack(list(on_host(shown).values())), len(student))
                partners = send(drawn, mask.device)
            classes = self.num_classes, self.ignore_index
            terms["hpd"] = prototype_divergence(
                student, teacher, mask, classes, masks, partners, self.released_prototypes
            )
        if self.loss_weights["rrm"] and self.released_rrm:
            terms["rrm"] = released_regulariser(student, teacher, masks)
        elif self.loss_weights["rrm"]:
            one, other = ([add_noise(maps) for maps in side] for side in (student, teacher))
            terms["rrm"] = feature_divergence(one, other, masks) / len(student)
        return terms
