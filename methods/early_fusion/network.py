"""One ordinary segmentation network on the channels of all modalities; what is missing is zero.

No paper; the network is any architecture of segmentation-models-pytorch (smp) on any encoder.
"""

from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor

from methods.parts.backbones import pad_to_multiple
from methods.parts.network import AnyModalityNetwork, Fused, Present, blank_missing
from usererror import UserError


def create_smp_model(
    architecture: str, backbone: str, in_channels: int, classes: int
) -> torch.nn.Module:
    """Create an smp model with random weights.

    `architecture` is `unet`, `deeplabv3plus`, `segformer` or another that smp knows, `backbone` one
    of smp's encoders (`resnet34`) or a timm model (`pvt_v2_b2`).
    """
    # smp's name of a timm model begins with "tu-"; BACKBONE= takes the plain one for every method
    own = backbone in smp.encoders.encoders or backbone.startswith("tu-")
    encoder = backbone if own else f"tu-{backbone}"
    try:
        # timm would ask a hub for what its registry lacks
        if encoder.startswith("tu-") and not timm.is_model(encoder.removeprefix("tu-")):
            raise ValueError("neither smp nor timm has it")
        # it reads values while it builds, which "meta", where costs are counted, has not
        with torch.device("cpu"):
            model = smp.create_model(architecture, encoder, None, in_channels, classes)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"segmentation-models-pytorch cannot build {architecture} on {backbone}: {error}"
        ) from error
    return model.to(torch.get_default_device())


class EarlyFusionNetwork(AnyModalityNetwork):
    """Feed an smp model the channels of every configured modality, in the dataset's order."""

    stride = 1

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        architecture: str = "unet",
        backbone: str = "resnet34",
    ) -> None:
        super().__init__(modalities)
        self.channels = dict(modalities)
        self.model = create_smp_model(
            architecture, backbone, sum(self.channels.values()), num_classes
        )

    def encoding_modules(self) -> list[torch.nn.Module]:
        """See the base class."""
        model: Any = self.model
        return [model.encoder]

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pad the images (B, C, H, W); nothing else depends on one modality alone."""
        # smp halves the image up to five times and refuses sides that 32 does not divide
        return {m: pad_to_multiple(images[m]) for m in self.ordered_names(images)}

    def fuse(self, encoded: Mapping[str, Tensor], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H, W), with zeros for what is missing; no extras."""
        given = {m: encoded[m] for m in self.ordered_names(encoded)}
        # zero is the mean of a normalised channel, the least telling value
        whole = blank_missing(given, present, self.channels)
        return self.model(torch.cat(list(whole.values()), 1)), {}
