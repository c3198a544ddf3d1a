"""The branch that all modalities but the primary share: self-query hub and pooling blocks."""

from collections.abc import Mapping, Sequence

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import ChannelNorm

EPS = 1e-6  # of the branch's norms
LAYER_SCALE = 0.01
POOLS = (3, 7, 11)


class PoolingBlock(nn.Module):
    """A PPX block: pooling attention, then squeezed channels beside a feed-forward part.

    n = BN(a), d = DW7(n), a <- a + ls_1 (n + n sigmoid(1x1(d + avg_3 d + avg_7 d + avg_11 d)));
    g = sigmoid(conv over the channels' means of a), a <- g a + ls_2 1x1(GELU(DW3(1x1(BN(a))))).
    As released the second step has no identity path: a shrinks by g (dossier 5.1).

    Args:
        ratio: hidden width of the feed-forward part over the width.
        drop_path: stochastic depth of both additions.
    """

    def __init__(self, width: int, ratio: int, drop_path: float = 0.0) -> None:
        super().__init__()
        hidden = ratio * width
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        # one-dimensional, so that they do not decay
        self.scales = nn.ParameterList(torch.full((width,), LAYER_SCALE) for _ in range(2))
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.gate = nn.Conv2d(width, width, 1)
        self.squeeze = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.feed = nn.Sequential(
            nn.Conv2d(width, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Conv2d(hidden, width, 1),
        )
        self.drop_path = DropPath(drop_path)

    def attend(self, normed: Tensor) -> Tensor:
        """Compute n + n sigmoid(...) of (B, C, h, w)."""
        local = self.depthwise(normed)
        total = local
        for side in POOLS:
            # padding is not counted, so that a constant stays one
            total = total + F.avg_pool2d(local, side, 1, side // 2, count_include_pad=False)
        return normed + normed * torch.sigmoid(self.gate(total))

    def channel_gate(self, features: Tensor) -> Tensor:
        """Compute g (B, C, 1, 1), a convolution along the channels of their means."""
        means = features.mean((2, 3))[:, None]
        return torch.sigmoid(self.squeeze(means)).transpose(1, 2)[..., None]

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        first, second = (scale[:, None, None] for scale in self.scales)
        attended = first * self.attend(self.norms[0](features))
        features = features + self.drop_path(attended)
        fed = second * self.feed(self.norms[1](features))
        return self.channel_gate(features) * features + self.drop_path(fed)


def make_scorer(width: int) -> nn.Sequential:
    """One number in 0..1 per pixel of (B, C, h, w): how much a modality asks to be heard."""
    depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
    return nn.Sequential(depthwise, nn.Conv2d(width, 1, 1), nn.Sigmoid())


class AuxiliaryStage(nn.Module):
    """One stage: shared embedding, a norm and a scorer per modality, maximum, pooling blocks.

    Args:
        names: the auxiliary modalities; a lone one has no scorer.
        stride: of the embedding; its kernel is 2 * stride - 1 wide.
        rates: stochastic depth of each block.
    """

    def __init__(
        self,
        names: Sequence[str],
        c_in: int,
        width: int,
        stride: int,
        ratio: int,
        rates: Sequence[float],
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(c_in, width, 2 * stride - 1, stride, stride - 1)
        self.norms = nn.ModuleDict({m: ChannelNorm(width, eps=EPS) for m in names})
        self.scorers = nn.ModuleDict()
        if len(names) > 1:
            self.scorers.update({m: make_scorer(width) for m in names})
        self.blocks = nn.Sequential(*(PoolingBlock(width, ratio, rate) for rate in rates))
        self.norm = ChannelNorm(width, eps=EPS)

    def embed_maps(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embed each modality by itself and raise it by its score: {name: (B, C, h, w)}."""
        raised = {}
        for m, features in maps.items():
            normed = self.norms[m](self.embed(features))
            # as released the next stage embeds the raised map
            raised[m] = (1 + self.scorers[m](normed)) * normed if m in self.scorers else normed
        return raised

    def merge_maps(self, maps: Mapping[str, Tensor], counted: Tensor | None = None) -> Tensor:
        """Take the maximum of the maps by element, (B, C, h, w).

        `counted` (modalities, B or 1), bool, says whose maps enter it, at least one per sample.
        """
        stack = torch.stack(list(maps.values()))
        if counted is not None:
            stack = stack.masked_fill(~counted[:, :, None, None, None], -torch.inf)
        return stack.amax(0)

    def forward(self, maps: Mapping[str, Tensor], counted: Tensor | None = None) -> Tensor:
        """Make one map (B, C, h, w) of the modalities' maps of this stage."""
        return self.norm(self.blocks(self.merge_maps(maps, counted)))
