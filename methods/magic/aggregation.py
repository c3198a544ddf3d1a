"""MAGIC's multi-modal aggregation module (MAM), and the two phi of its selection (ASM).

MAM: a depthwise convolution and average pools of three sizes give a sigmoid gate, shared by the
modalities; then one small module phi per modality, whose results are averaged. On the head's logits
phi is a scalar MLP, on features a 1x1 convolution.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usererror import UserError

PhiInit = Literal["identity", "pytorch"]
PhiKind = Literal["scalar", "mixing"]

# standard deviation of the noise on a phi that starts as the identity
PHI_NOISE = 0.02


class NeighbourhoodGate(nn.Module):
    """Gate maps: f + a f, a = sigmoid(Conv1x1(y + sum of Avg_k(y))), y = DWConv(f)."""

    def __init__(self, channels: int, kernel: int = 7, pools: Sequence[int] = (3, 7, 11)) -> None:
        super().__init__()
        if any(side < 1 or side % 2 == 0 for side in (kernel, *pools)):
            raise UserError(
                f"Kernel and pools of MAM must be odd and positive; got {kernel} and {list(pools)}."
            )
        self.pools = tuple(pools)
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def pool_averages(self, maps: Tensor) -> list[Tensor]:
        """Average (B, C, H, W) over each pool with stride 1, padding left out, at the same size."""
        return [
            F.avg_pool2d(maps, side, 1, side // 2, count_include_pad=False) for side in self.pools
        ]

    def forward(self, maps: Tensor) -> Tensor:
        """f_m -> gated f_m."""
        # large kernels by pooling: three averages of one depthwise response
        context = self.depthwise(maps)
        gate = self.pointwise(sum(self.pool_averages(context), start=context)).sigmoid()
        return maps + gate * maps


class ScalarMLP(nn.Module):
    """phi: one MLP 1 -> hidden -> 1 with ReLU, applied to every scalar of a map.

    `identity` starts as x = ReLU(x) - ReLU(-x) plus small noise on every parameter; `pytorch` as
    linear layers do, where many such functions fall or bend, each modality's differently.
    """

    def __init__(self, hidden: int = 8, init: PhiInit = "identity") -> None:
        super().__init__()
        self.inner = nn.Linear(1, hidden)
        self.outer = nn.Linear(hidden, 1)
        if init == "identity":
            if hidden < 2:
                raise UserError(f"phi_init: identity needs phi_hidden of at least 2; got {hidden}.")
            # x = ReLU(x) - ReLU(-x) needs two hidden units
            signs = torch.tensor([1.0, -1.0])
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.normal_(0.0, PHI_NOISE)
                self.inner.weight[:2, 0] += signs
                self.outer.weight[0, :2] += signs

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape, in channels-last memory like the head's."""
        scalars = maps.permute(0, 2, 3, 1).unsqueeze(4)
        return self.outer(F.relu(self.inner(scalars))).squeeze(4).permute(0, 3, 1, 2)


def mixing_phi(channels: int, init: PhiInit) -> nn.Conv2d:
    """phi on features: a 1x1 convolution C -> C, near the identity or as PyTorch starts it."""
    layer = nn.Conv2d(channels, channels, 1)
    if init == "identity":
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.normal_(0.0, PHI_NOISE)
            layer.weight[:, :, 0, 0] += torch.eye(channels)
    return layer


class Aggregation(nn.Module):
    """MAM at one scale (C = K for logits), and the two further phi of ASM; the gate is shared."""

    def __init__(
        self,
        channels: int,
        modalities: Sequence[str],
        kind: PhiKind = "scalar",
        kernel: int = 7,
        pools: Sequence[int] = (3, 7, 11),
        hidden: int = 8,
        init: PhiInit = "identity",
    ) -> None:
        super().__init__()
        if init not in get_args(PhiInit):
            raise UserError(f"phi_init {init!r} is none of {', '.join(get_args(PhiInit))}.")

        def make_phi() -> nn.Module:
            return ScalarMLP(hidden, init) if kind == "scalar" else mixing_phi(channels, init)

        self.gate = NeighbourhoodGate(channels, kernel, pools)
        self.phi = nn.ModuleDict({m: make_phi() for m in modalities})
        # trained through ASM only; one modality has nothing to select
        self.salient = nn.ModuleDict(
            {part: make_phi() for part in ("top", "last")} if len(modalities) > 1 else {}
        )


def mean_of_present(maps: Sequence[Tensor], present: Tensor | None) -> Tensor:
    """Average M maps (B, C, H, W) over the modalities each sample has, bool (M, B); None = all."""
    if len(maps) == 1:
        return maps[0]
    if present is None:
        return sum(maps[1:], start=maps[0]) / len(maps)
    kept = present.to(maps[0].dtype)[:, :, None, None, None]
    return sum(part * one for part, one in zip(kept, maps, strict=True)) / kept.sum(0)
