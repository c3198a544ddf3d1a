"""Networks of one image for the tests: small, and away from the starts at zero."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.experiment.models import build_model
from benchmark.profiling.complexity import (
    count_elements,
    count_trainable,
    evaluation_gmac,
    parameters_in_graph,
)
from methods.single_stream.dc_swin import SMALL
from methods.single_stream.module import SingleStream
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    THREE,
    training_batch,
)

RESNET = {"backbone": "test_resnet"}  # of timm, a thirtieth of ResNet-18
ARCHITECTURES = {
    **{name: RESNET for name in ("unetformer", "abcnet", "maresunet", "pspnet")},
    "unet_2015": {"width": 4, "batch_norm": False},
    "dc_swin": {"backbone": SMALL},
    "segnet": {"backbone": "vgg16_w8"},
}


def leave_zero_gains(module: nn.Module) -> None:
    """Let gradients through every residual block: timm's ResNets end it with a gain of 0."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)


def leave_zero_starts(module: nn.Module) -> None:
    """Give attention that starts with a factor of 0 another one, too."""
    leave_zero_gains(module)
    for name, weight in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(weight, 0.5)


def leave_no_path_out(module: nn.Module) -> None:
    """Switch stochastic depth off: of two samples a block may see none."""
    for part in module.modules():
        if isinstance(part, DropPath):
            part.drop_prob = 0.0


def silent_at_the_start(options: dict[str, Any]) -> set[str]:
    """Parameters of the model that a first step leaves as they are, gains of the ResNet aside."""
    torch.manual_seed(0)
    module = SingleStream(THREE, CLASSES, **options)
    leave_zero_gains(module)
    leave_no_path_out(module)
    module.weighted_sum(module.training_losses(training_batch(THREE))).backward()
    named = module.network.model.named_parameters()
    return {name for name, weight in named if not weight.grad.any()}


def randomise(module: nn.Module) -> None:
    """Draw norms, biases and factors too, so that none of them is without effect."""
    for value in module.state_dict().values():
        if value.is_floating_point() and value.ndim <= 1:
            value.copy_(torch.rand_like(value) + 0.1)


class Twin:
    """A module in evaluation from its state, with functions of torch: what twins have in common."""

    def __init__(self, module: nn.Module) -> None:
        self.state, self.module = module.state_dict(), module

    def conv(self, name: str, maps: Tensor, **how: Any) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        return F.conv2d(maps, weight, bias, **how)

    def norm(self, name: str, maps: Tensor) -> Tensor:
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        scale = self.state[f"{name}.weight"] / (variance + 1e-5).sqrt()
        shift = self.state[f"{name}.bias"] - mean * scale
        return maps * scale[:, None, None] + shift[:, None, None]

    def cbr(self, name: str, maps: Tensor, **how: Any) -> Tensor:
        return self.norm(f"{name}.1", self.conv(f"{name}.0", maps, **how)).clamp(min=0)

    def attention(self, name: str, maps: Tensor) -> Tensor:
        """Linear attention by the matrix of all pairs (dossier, 2.2)."""
        q, k, v = (
            self.conv(f"{name}.{part}", maps).flatten(2) for part in ("query", "key", "value")
        )
        q, k = (part / part.square().sum(1, keepdim=True).sqrt() for part in (q, k))
        pairs = 1 + torch.einsum("bci,bcj->bij", q, k)
        found = torch.einsum("bij,bcj->bci", pairs / pairs.sum(2, keepdim=True), v)
        return self.state[f"{name}.gamma"] * found.unflatten(2, maps.shape[2:])


class SingleStreamContract(MethodContract):
    method = SingleStream
    counts = (3,)  # a network sees one image; `TestOptical` and `TestUNet2015` have other numbers

    @classmethod
    def make(cls, modalities: dict[str, int] = THREE, seed: int = 0, **options: Any) -> Any:
        module = super().make(modalities, seed, **options)
        leave_zero_starts(module)
        return module


def parameters(row: str, channels: dict[str, int], classes: int = 6) -> int:
    """Count what training changes."""
    with torch.device("meta"):
        return count_trainable(build_model(row, channels, classes))


def costs(row: str, channels: dict[str, int]) -> tuple[int, int, float]:
    """Parameters that training changes, those of the logits, and GMAC of a full set at 256 px."""
    with torch.device("meta"):
        model = build_model(row, channels, 6).eval()
        images = {m: torch.empty(1, count, 256, 256) for m, count in channels.items()}
    used = parameters_in_graph(model, lambda: [model(images)])
    # nothing is kept between calls
    gmac = evaluation_gmac(lambda: model(images), warm=True)
    return count_trainable(model), count_elements(used), gmac
