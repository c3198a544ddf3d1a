"""MMSFormer's fusion block, which StitchFusion takes as it is."""

from torch import Tensor, nn
from torch.nn import functional as F

KERNELS = (3, 5, 7)


class FusionBlock(nn.Module):
    """Fuse M maps of C channels at one scale.

    c = linear of the concatenated maps; t = linear(c), t = BN(1x1 t), t = BN(1x1(t + DW3 t + DW5 t
    + DW7 t)); the output is linear(GELU t) + c gate(c), with a gate per channel from the means of c
    (dossier 7.1). A missing map is zero, so that the sum over modalities is what is to be known.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.merge = nn.Conv2d(count * width, width, 1)
        self.enter = nn.Conv2d(width, width, 1)
        self.mix = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        self.branches = nn.ModuleList()
        for side in KERNELS:
            branch = nn.Conv2d(width, width, side, padding=side // 2, groups=width)
            self.branches.append(branch)
        self.join = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        self.leave = nn.Conv2d(width, width, 1)
        narrow = max(1, width // 16)
        self.gate = nn.Sequential(
            nn.Linear(width, narrow, bias=False),
            nn.ReLU(),
            nn.Linear(narrow, width, bias=False),
            nn.Sigmoid(),
        )

    def part(self, index: int, maps: Tensor) -> Tensor:
        """What modality `index` adds to c, without the bias: (B, C, h, w) -> the same shape."""
        return F.conv2d(maps, self.merge.weight.chunk(self.count, 1)[index])

    def finish(self, total: Tensor) -> Tensor:
        """Turn the sum of parts (B, C, h, w) into the output of that shape."""
        merged = total + self.merge.bias[:, None, None]  # type: ignore[index]
        mixed = self.mix(self.enter(merged))
        wide = mixed
        for branch in self.branches:
            wide = wide + branch(mixed)
        gate = self.gate(merged.mean((2, 3)))[..., None, None]
        return self.leave(F.gelu(self.join(wide))) + merged * gate
