"""One network on one image: the channels of all modalities, or those of the optical one alone."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.parts.backbones import pad_to_multiple
from methods.parts.network import AnyModalityNetwork, Fused, Present, as_mask, main_modality
from methods.single_stream.abcnet import ABCNet
from methods.single_stream.dc_swin import DCSwin
from methods.single_stream.first_layer import respond
from methods.single_stream.maresunet import MAResUNet
from methods.single_stream.pspnet import PSPNet
from methods.single_stream.unet import UNet
from methods.single_stream.unetformer import UNetFormer
from methods.vgg16.segnet import SegNet
from usererror import UserError

# A network lists its first convolutions in `first`. It is called with what each of them returns and
# returns logits at `stride`, in training also those of its auxiliary heads, at strides of theirs.
WITH_BACKBONE: dict[str, Any] = {
    "unetformer": UNetFormer,
    "abcnet": ABCNet,
    "maresunet": MAResUNet,
    "pspnet": PSPNet,
    "dc_swin": DCSwin,
    "segnet": SegNet,
    "segnet_relu_bn": partial(SegNet, order="relu_bn"),
}
ARCHITECTURES = (*WITH_BACKBONE, "unet_2015")


class SingleStreamNetwork(AnyModalityNetwork):
    """A network whose first convolution is the sum of one per modality; a missing one adds nothing.

    That is the network on the concatenated channels, with zeros for what is missing.

    Args:
        architecture: `unetformer`, `abcnet`, `maresunet`, `pspnet`, `dc_swin`, `segnet`,
            `segnet_relu_bn` (norms behind the ReLUs) or `unet_2015`.
        inputs: `all`: the channels of all modalities. `optical`: those of the main one, the first
            with three channels (else the first); of a subset without it nothing is seen.
        backbone: a timm ResNet; a Swin Transformer for `dc_swin`; `vgg16` for SegNet, or
            `vgg16_w16` with a quarter of its widths; `unet_2015` has none.
        pretrained_path: local weight file instead of the cache.
        width: of the finest level of `unet_2015`.
        batch_norm: in `unet_2015`; without them, as in the paper, convolutions have a bias.
        freeze: the first stage of `dc_swin`; of use with pretrained weights and `inputs: optical`.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        architecture: str = "unetformer",
        inputs: Literal["all", "optical"] = "all",
        backbone: str = "none",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        width: int = 64,
        batch_norm: bool = True,
        freeze: bool = False,
    ) -> None:
        super().__init__(modalities)
        if inputs not in ("all", "optical"):
            raise UserError(f"inputs {inputs!r} is neither all nor optical.")
        if architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise UserError(f"architecture {architecture!r} is none of {known}.")
        if freeze and (architecture, inputs) != ("dc_swin", "optical"):
            kept = "freeze keeps the pretrained first stage of dc_swin with inputs: optical"
            raise UserError(f"{kept}; elsewhere weights that are not trained would stay random.")
        self._places: dict[str, slice] = {}
        channels: list[int] = []
        for m, count in modalities.items():
            seen = count if inputs == "all" or m == main_modality(modalities) else 0
            self._places[m] = slice(sum(channels), sum(channels) + seen)
            channels += [seen] if seen else []
        self.model: Any
        if architecture == "unet_2015":
            self.model = UNet(channels, num_classes, width, batch_norm)
        else:
            encoder = (backbone, pretrained, pretrained_path)
            frozen = {"freeze": True} if freeze else {}
            self.model = WITH_BACKBONE[architecture](channels, num_classes, *encoder, **frozen)
        self.stride = self.model.stride

    def encoding_modules(self) -> list[nn.Module]:
        """All but the first convolution."""
        return [self.model]

    def sees(self, modality: str) -> bool:
        """Tell whether the first convolution has channels for a modality."""
        place = self._places[modality]
        return place.start < place.stop

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """{modality: (B, C, H, W)} -> {modality: [(B, E, h, w)]}, a map for each of `first`."""
        encoded = {}
        for m in self.ordered_names(images):
            image, place = pad_to_multiple(images[m]), self._places[m]
            encoded[m] = [respond(conv, image, place) for conv in self.model.first]
        return encoded

    def fuse(self, encoded: Mapping[str, list[Tensor]], present: Present | None = None) -> Fused:
        """Predict padded logits at `stride`, in training `auxiliary` ones too, at any stride."""
        names, sums = self.ordered_names(encoded), []
        for number, conv in enumerate(self.model.first):
            parts = [encoded[m][number] for m in names]
            if present is not None:
                pairs = zip(names, parts, strict=True)
                parts = [torch.where(as_mask(present[m]), part, 0.0) for m, part in pairs]
            total: Any = sum(parts[1:], parts[0])
            sums.append(total if conv.bias is None else total + conv.bias[:, None, None])
        logits, auxiliary = self.model(sums)
        return logits, {"auxiliary": auxiliary}
