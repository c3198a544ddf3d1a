"""CMNeXt's equations taken literally (dossier 5.1), with the weights of a built network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def batch_norm(norm: Any, x: Tensor) -> Tensor:
    """With the statistics that are kept."""
    columns = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, weight, bias = (column[:, None, None] for column in columns)
    return (x - mean) / torch.sqrt(variance + norm.eps) * weight + bias


def layer_norm(norm: Any, x: Tensor) -> Tensor:
    """Over the channels of a map."""
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    scaled = (x - mean) / torch.sqrt(variance + norm.eps)
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def average(x: Tensor, side: int) -> Tensor:
    """Mean of the pixels of a square that lie in the map."""
    kernel = torch.ones(x.shape[1], 1, side, side, dtype=x.dtype)
    options = {"padding": side // 2, "groups": x.shape[1]}
    return F.conv2d(x, kernel, **options) / F.conv2d(torch.ones_like(x), kernel, **options)


def pixelwise(layer: Any, x: Tensor) -> Tensor:
    """A linear layer or 1x1 convolution on the channels of a map."""
    matrix = layer.weight.reshape(layer.weight.shape[:2])
    result = torch.einsum("oc,bchw->bohw", matrix, x)
    return result if layer.bias is None else result + layer.bias[:, None, None]


def ppx_block(block: Any, a: Tensor) -> Tensor:
    first, second = (scale[:, None, None] for scale in block.scales)
    n = batch_norm(block.norms[0], a)
    d = block.depthwise(n)
    total = d + average(d, 3) + average(d, 7) + average(d, 11)
    a = a + first * (n + n * torch.sigmoid(pixelwise(block.gate, total)))
    means = F.pad(a.mean((2, 3)), (1, 1))
    left, middle, right = block.squeeze.weight.flatten()
    gate = torch.sigmoid(left * means[:, :-2] + middle * means[:, 1:-1] + right * means[:, 2:])
    wide, depthwise, _, narrow = block.feed
    fed = F.gelu(depthwise(pixelwise(wide, batch_norm(block.norms[1], a))))
    return gate[..., None, None] * a + second * pixelwise(narrow, fed)


def hub(stage: Any, maps: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    raised = {}
    for m, e in maps.items():
        e = layer_norm(stage.norms[m], stage.embed(e))
        if len(maps) > 1:
            depthwise, score, _ = stage.scorers[m]
            e = (1 + torch.sigmoid(pixelwise(score, depthwise(e)))) * e
        raised[m] = e
    names = list(raised)
    largest = raised[names[0]]
    for m in names[1:]:
        largest = torch.where(raised[m] > largest, raised[m], largest)
    return raised, largest


def rectified(frm: Any, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    count = x.shape[1]
    both = torch.cat([x, a], 1)
    pooled = torch.cat([both.mean((2, 3)), both.flatten(2).max(2).values], 1)[..., None, None]
    first, _, last = frm.by_channel
    w = torch.sigmoid(pixelwise(last, torch.relu(pixelwise(first, pooled))))
    first, _, last = frm.by_pixel
    v = torch.sigmoid(pixelwise(last, torch.relu(pixelwise(first, both))))
    met = x + 0.5 * w[:, count:] * a + 0.5 * v[:, 1:] * a
    return met, a + 0.5 * w[:, :count] * x + 0.5 * v[:, :1] * x


def fused(ffm: Any, x: Tensor, a: Tensor) -> Tensor:
    count, sides = x.shape[1], []
    width = count // ffm.heads
    for side, own in enumerate((x, a)):
        y, u = torch.relu(pixelwise(ffm.halves[side], own)).split(count, 1)
        k, v = pixelwise(ffm.keys_values[side], u).split(count, 1)
        contexts = []
        for h in range(ffm.heads):
            part = slice(h * width, (h + 1) * width)
            product = torch.einsum("bihw,bjhw->bij", k[:, part], v[:, part]) / width**0.5
            contexts.append(product.exp() / product.exp().sum(1, keepdim=True))
        sides.append((own, y, u, contexts))
    outputs = []
    for side in range(2):
        own, y, q, _ = sides[side]
        answers = []
        for h, context in enumerate(sides[1 - side][3]):
            asked = q[:, h * width : (h + 1) * width]
            answers.append(torch.einsum("bihw,bij->bjhw", asked, context))
        mixed = pixelwise(ffm.ends[side], torch.cat([y, *answers], 1))
        outputs.append(layer_norm(ffm.norms[side], own + mixed))
    z = torch.cat(outputs, 1)
    first, depthwise, _, last, norm = ffm.mixer
    inner = pixelwise(last, torch.relu(depthwise(pixelwise(first, z))))
    return batch_norm(ffm.norm, pixelwise(ffm.shortcut, z) + batch_norm(norm, inner))


def literal_features(network: Any, images: dict[str, Tensor]) -> list[Tensor]:
    """The four maps that go to the head, of three-channel images of all modalities; PVT-v2."""
    pyramid, features = network.encoder.pyramid, []
    x = pyramid["patch_embed"](images[network.primary])
    maps = {m: images[m] for m in network.others}
    for scale in range(4):
        x = pyramid[f"stages_{scale}"](x)
        stage = network.auxiliary[scale]
        maps, a = hub(stage, maps)
        for block in stage.blocks:
            a = ppx_block(block, a)
        x, a = rectified(network.rectification[scale], x, layer_norm(stage.norm, a))
        features.append(fused(network.fusion[scale], x, a))
        maps = {m: a if len(maps) == 1 else e + a for m, e in maps.items()}
    return features
