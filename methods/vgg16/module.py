"""The networks on VGG-16 as Lightning modules."""

from typing import Any

from methods.streams import StreamSegmenter
from methods.vgg16.cmfnet import CMFNetNetwork
from methods.vgg16.fusenet import FuseNetNetwork
from methods.vgg16.vfusenet import VFuseNetNetwork


class FuseNet(StreamSegmenter):
    """Sums of the maps of all encoders behind every block of the main one.

    Example:
        >>> import torch
        >>> model = FuseNet({"rgb": 3, "dsm": 1}, 5, backbone="vgg16_w16", pretrained=False).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
    """

    def set_network(self, **network: Any) -> None:
        """See the base class."""
        self.network = FuseNetNetwork(self.modalities, self.num_classes, **network)


class VFuseNet(StreamSegmenter):
    """A virtual encoder on the sums of all real ones."""

    def set_network(self, **network: Any) -> None:
        """See the base class."""
        self.network = VFuseNetNetwork(self.modalities, self.num_classes, **network)


class CMFNet(StreamSegmenter):
    """Channels of the main encoder attend to those of the others at four scales."""

    def set_network(self, **network: Any) -> None:
        """See the base class."""
        self.network = CMFNetNetwork(self.modalities, self.num_classes, **network)
