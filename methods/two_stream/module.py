"""The networks with a stream per sensor as Lightning modules."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.frozen_vit import frozen_names
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.network import blank_missing
from methods.streams import StreamSegmenter
from methods.two_stream.cmgfnet import CMGFNetNetwork
from methods.two_stream.ftransunet import FTransUNetNetwork
from methods.two_stream.manet import MANetNetwork


class CMGFNet(StreamSegmenter):
    """Cross-modal gated fusion; the mean of three heads' losses, as published.

    Example:
        >>> import torch
        >>> model = CMGFNet({"rgb": 3, "dsm": 1}, 5, backbone="resnet18", pretrained=False).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1 / 3, "main": 1 / 3, "cross": 1 / 3}

    def set_network(self, **network: Any) -> None:
        """See the base class."""
        self.network = CMGFNetNetwork(self.modalities, self.num_classes, **network)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropies of the three heads on the drawn subset of each sample."""
        mask, network = batch["mask"], self.network
        shown = blank_missing(batch["image"], self.draw_shown(batch), network.channels)
        logits, extras = network.fuse(network.encode(shown))
        terms = {}
        for name, guess in {"seg": logits, **extras["heads"]}.items():
            guess = to_image_size(guess, mask.shape[-2:], network.stride)
            terms[name] = cross_entropy(guess, mask, self.ignore_index)
        return terms


class MANet(StreamSegmenter):
    """A frozen SAM encoder for all streams, and adapters between them.

    Example:
        >>> import torch
        >>> small = {"backbone": "samvit_tiny_patch8", "pretrained": False}
        >>> model = MANet({"rgb": 3, "dsm": 1}, 5, **small).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    def set_network(self, **network: Any) -> None:
        """See the base class; `seed` decides the frozen weights where they are random."""
        self.network = MANetNetwork(self.modalities, self.num_classes, seed=self.seed, **network)
        self._ddp_params_and_buffers_to_ignore = frozen_names(self)


class FTransUNet(StreamSegmenter):
    """A ResNet and a transformer in every stream, fused at every step and in the middle layers.

    Example:
        >>> import torch
        >>> small = {"backbone": "vit_micro_r50_w8", "pretrained": False}
        >>> model = FTransUNet({"rgb": 3, "dsm": 1}, 5, **small).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    def set_network(self, **network: Any) -> None:
        """See the base class."""
        self.network = FTransUNetNetwork(self.modalities, self.num_classes, **network)
