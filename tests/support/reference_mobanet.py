"""MoBaNet for two streams as the equations read: token sequences, plain attention, a sigmoid gate,
named weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def keys_cubic(x: float, a: float = -0.75) -> float:
    """Keys' cubic convolution kernel."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def axis_matrix(target: int, side: int, scale: float) -> Tensor:
    """target x side weights: the coordinate of output i is (i + 0.5) / scale - 0.5, the edge is
    repeated.
    """
    matrix = torch.zeros(target, side, dtype=torch.float64)
    for i in range(target):
        centre = (i + 0.5) / scale - 0.5
        base = math.floor(centre)
        for tap in range(base - 1, base + 3):
            matrix[i, min(max(tap, 0), side - 1)] += keys_cubic(centre - tap)
    return matrix


def positions(table: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """1 x (1 + side^2) x C -> 1 x (1 + h w) x C by DINOv2's rule, in float64."""
    if grid == (side, side):
        return table
    rows, columns = (axis_matrix(n, side, (n + 0.1) / side) for n in grid)
    square = table[0, 1:].double().reshape(side, side, -1)
    resized = torch.einsum("ia,jb,abc->ijc", rows, columns, square).reshape(
        1, grid[0] * grid[1], -1
    )
    return torch.cat([table[:, :1], resized.to(table.dtype)], 1)


def linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    y = x @ weights[f"{name}.weight"].flatten(1).T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def norm(weights: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def block(weights: dict[str, Tensor], name: str, x: Tensor, heads: int) -> Tensor:
    batch, length, width = x.shape
    qkv = linear(weights, f"{name}.attn.qkv", norm(weights, f"{name}.norm1", x, 1e-6))
    query, key, value = qkv.reshape(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    attention = (query @ key.transpose(-2, -1) / math.sqrt(width // heads)).softmax(-1) @ value
    attention = linear(
        weights, f"{name}.attn.proj", attention.transpose(1, 2).reshape(batch, length, width)
    )
    x = x + weights[f"{name}.ls1.gamma"] * attention
    inner = F.gelu(linear(weights, f"{name}.mlp.fc1", norm(weights, f"{name}.norm2", x, 1e-6)))
    return x + weights[f"{name}.ls2.gamma"] * linear(weights, f"{name}.mlp.fc2", inner)


def tokens(
    frozen: dict[str, Tensor], image: Tensor, weight: Tensor, bias: Tensor, side: int
) -> Tensor:
    """[class; patches] + positions, (B, 1 + h w, C); patches are multiplied row by row."""
    patch = weight.shape[-1]
    cut = image.unfold(2, patch, patch).unfold(3, patch, patch)  # B x 3 x h x w x p x p
    grid = (cut.shape[2], cut.shape[3])
    rows = (
        cut.permute(0, 2, 3, 1, 4, 5).reshape(len(image), grid[0] * grid[1], -1)
        @ weight.flatten(1).T
        + bias
    )
    sequence = torch.cat([frozen["cls_token"].expand(len(image), -1, -1), rows], 1)
    return sequence + positions(frozen["pos_embed"], side, grid)


def prompts(w: dict[str, Tensor], name: str, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    mixed = torch.cat([linear(w, f"{name}.down.0", one), linear(w, f"{name}.down.1", two)], -1)
    base = linear(w, f"{name}.up", linear(w, f"{name}.mix", mixed))
    return tuple(base + w[f"{name}.gamma.{i}"] * base + w[f"{name}.beta.{i}"] for i in (0, 1))


def gated(w: dict[str, Tensor], number: int, one: Tensor, two: Tensor) -> Tensor:
    """DGFM and its LayerNorm on token rows B x N x C; GroupNorm with one group acts on a sample's N
    x c_g values.
    """
    name = f"dgfm.{number}"
    u, v = linear(w, f"{name}.reductions.0", one), linear(w, f"{name}.reductions.1", two)
    hidden = linear(w, f"{name}.gate_in", torch.cat([u, v, (u - v).abs()], -1))
    mean, variance = (
        hidden.mean((1, 2), keepdim=True),
        hidden.var((1, 2), keepdim=True, unbiased=False),
    )
    hidden = (hidden - mean) / (variance + 1e-5).sqrt() * w[f"{name}.gate_norm.weight"] + w[
        f"{name}.gate_norm.bias"
    ]
    gate = torch.sigmoid(linear(w, f"{name}.gate_out", F.gelu(hidden)))
    return norm(w, f"norms.{number}", gate * one + (1 - gate) * two, 1e-5)


def conv_block(w: dict[str, Tensor], name: str, x: Tensor, activate: bool = True) -> Tensor:
    kernel = w[f"{name}.0.weight"]
    x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
    mean, variance = w[f"{name}.1.running_mean"], w[f"{name}.1.running_var"]
    scale = w[f"{name}.1.weight"] / (variance + 1e-5).sqrt()
    x = (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.1.bias"][:, None, None]
    return x.clamp(0, 6) if activate else x


def uper(w: dict[str, Tensor], levels: list[Tensor]) -> Tensor:
    size = levels[3].shape[-2:]
    pooled = []
    for i, side in enumerate((1, 2, 3, 6)):
        small = conv_block(w, f"head.pools.{i}", F.adaptive_avg_pool2d(levels[3], side))
        pooled.append(F.interpolate(small, size=size, mode="bilinear", align_corners=False))
    top = conv_block(w, "head.bottleneck", torch.cat([levels[3], *pooled], 1))
    third = conv_block(w, "head.laterals.2", levels[2], False) + top
    second = conv_block(w, "head.laterals.1", levels[1], False) + third
    first = conv_block(w, "head.laterals.0", levels[0], False) + second
    smooth = [conv_block(w, f"head.smooth.{i}", x) for i, x in enumerate((first, second, third))]
    return F.conv2d(
        conv_block(w, "head.fusion", torch.cat([*smooth, top], 1)), w["head.classifier.weight"]
    )


def forward(network, one: Tensor, two: Tensor) -> Tensor:
    """Logits at image size of `code`-style MoBaNet in eval mode, sides multiples of the patch."""
    w = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    prefix = "backbone.model."
    frozen = {name[len(prefix) :]: value for name, value in w.items() if name.startswith(prefix)}
    depth = 1 + max(int(name.split(".")[1]) for name in frozen if name.startswith("blocks."))
    heads = {384: 6, 192: 3}[frozen["cls_token"].shape[-1]]
    side = math.isqrt(frozen["pos_embed"].shape[1] - 1)
    patch = frozen["patch_embed.proj.weight"].shape[-1]
    grid = (one.shape[-2] // patch, one.shape[-1] // patch)
    x = tokens(
        frozen, one, frozen["patch_embed.proj.weight"], frozen["patch_embed.proj.bias"], side
    )
    y = tokens(
        frozen, two.repeat(1, 3, 1, 1), w["embeddings.0.weight"], w["embeddings.0.bias"], side
    )
    levels = []
    for number in range(4):
        p, q = prompts(w, f"cpia.{number}", x[:, 1:], y[:, 1:])
        x, y = torch.cat([x[:, :1], x[:, 1:] + p], 1), torch.cat([y[:, :1], y[:, 1:] + q], 1)
        for i in range(number * depth // 4, (number + 1) * depth // 4):
            x, y = block(frozen, f"blocks.{i}", x, heads), block(frozen, f"blocks.{i}", y, heads)
        fused = gated(w, number, *(norm(frozen, "norm", s, 1e-6)[:, 1:] for s in (x, y)))
        levels.append(linear(w, f"projections.{number}", fused).transpose(1, 2).unflatten(2, grid))
    return F.interpolate(uper(w, levels), size=one.shape[-2:], mode="bilinear", align_corners=False)
