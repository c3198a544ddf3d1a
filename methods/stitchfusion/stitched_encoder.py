"""timm's pyramids run step by step, with stitches between the steps of their blocks."""

from typing import Any

from torch import Tensor, nn

from methods.stitchfusion.adapters import Layout, Stitch
from usererror import UserError

STEM = ("conv1", "bn1", "act1", "maxpool")


def is_pvt(pyramid: Any) -> bool:
    """Whether a pyramid is PVT-v2 (True) or ResNet; others are refused."""
    parts = dict(pyramid.named_children())
    if "patch_embed" in parts and "stages_0" in parts:
        return True
    if set(STEM) <= set(parts):
        return False
    raise UserError("StitchFusion's adapters need a PVT-v2 or ResNet backbone.")


class Stitches(nn.ModuleList):
    """The stitches of every block: two in a block of PVT-v2, one behind a block of ResNet."""

    def __init__(self, pyramid: Any, count: int, parallel: bool) -> None:
        super().__init__()
        self.pvt = is_pvt(pyramid)
        self.names = [f"stages_{i}" if self.pvt else f"layer{i + 1}" for i in range(4)]
        for name, width in zip(self.names, pyramid.feature_info.channels(), strict=True):
            depth = len(pyramid[name].blocks if self.pvt else pyramid[name])
            per_block = 2 if self.pvt else 1
            made = [Stitch(count, width, parallel) for _ in range(per_block * depth)]
            self.append(nn.ModuleList(made))

    def embed(self, pyramid: Any, images: Tensor) -> Tensor:
        """Run what precedes the first block: (B, 3, H, W) -> (B, C, H/4, W/4)."""
        if self.pvt:
            return pyramid["patch_embed"](images).permute(0, 3, 1, 2)
        for name in STEM:
            images = pyramid[name](images)
        return images

    def run(self, pyramid: Any, embedded: Tensor, layout: Layout) -> list[Tensor]:
        """Packed embeddings (rows, C, h, w) -> four packed maps (rows, C_s, h_s, w_s)."""
        maps, state = [], embedded
        for name, stitches in zip(self.names, self, strict=True):
            step = run_pvt_stage if self.pvt else run_resnet_stage
            state = step(pyramid[name], state, stitches, layout)
            maps.append(state)
        return maps


def run_pvt_stage(stage: Any, state: Tensor, stitches: Any, layout: Layout) -> Tensor:
    """timm's stage, with adapters behind attention and behind the feed-forward part."""
    tokens = state.permute(0, 2, 3, 1) if stage.downsample is None else stage.downsample(state)
    sides = tokens.shape[1:3]
    tokens = tokens.flatten(1, 2)
    for number, block in enumerate(stage.blocks):
        tokens = tokens + block.attn(block.norm1(tokens), sides)
        tokens = stitches[2 * number](tokens, layout, block.norm1)
        tokens = tokens + block.mlp(block.norm2(tokens), sides)
        tokens = stitches[2 * number + 1](tokens, layout, block.norm2)
    return stage.norm(tokens).transpose(1, 2).unflatten(2, sides)


def run_resnet_stage(stage: Any, state: Tensor, stitches: Any, layout: Layout) -> Tensor:
    """timm's stage, with adapters on what each residual block puts out."""
    for block, stitch in zip(stage, stitches, strict=True):
        rows = block(state).movedim(1, -1)
        state = stitch(rows, layout, nn.Identity()).movedim(-1, 1)
    return state
