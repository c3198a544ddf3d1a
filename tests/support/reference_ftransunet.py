"""FTransUNet's equations taken literally, with the weights of a built network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.two_stream.ftransunet import FTransUNetNetwork
from methods.two_stream.hybrid import Size


class Twin:
    """The dossier's equations in plain operations on the weights of a network in eval mode."""

    def __init__(self, network: FTransUNetNetwork, size: Size, groups: int | None) -> None:
        self.weights, self.size, self.groups = network.state_dict(), size, groups

    def parameters(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def standard(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = self.weights[f"{name}.weight"]
        mean = kernel.mean((1, 2, 3), keepdim=True)
        variance = ((kernel - mean) ** 2).mean((1, 2, 3), keepdim=True)
        kernel = (kernel - mean) / (variance + 1e-5).sqrt()
        return F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2)

    def group_norm(self, name: str, x: Tensor, groups: int, eps: float) -> Tensor:
        gain, bias = self.parameters(name)
        split = x.reshape(len(x), groups, -1)
        mean, variance = split.mean(2, True), split.var(2, correction=0, keepdim=True)
        normed = ((split - mean) / (variance + eps).sqrt()).reshape(x.shape)
        return normed * gain[:, None, None] + bias[:, None, None]

    def conv_norm(self, conv: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
        x = self.standard(conv, x, stride)
        return self.group_norm(norm, x, min(32, x.shape[1]), 1e-6)

    def unit(self, name: str, x: Tensor, stride: int, first: bool) -> Tensor:
        y = self.conv_norm(f"{name}.conv1", f"{name}.norm1", x).clamp(min=0)
        y = self.conv_norm(f"{name}.conv2", f"{name}.norm2", y, stride).clamp(min=0)
        y = self.conv_norm(f"{name}.conv3", f"{name}.norm3", y)
        if first:
            x = self.standard(f"{name}.downsample.conv", x, stride)
            x = self.group_norm(f"{name}.downsample.norm", x, self.groups or x.shape[1], 1e-5)
        return (x + y).clamp(min=0)

    def step(self, modality: str, level: int, x: Tensor) -> Tensor:
        start = f"trunks.{modality}."
        if level == 0:
            return self.conv_norm(f"{start}stem.0", f"{start}stem.1", x, 2).clamp(min=0)
        if level == 1:
            x = F.max_pool2d(x, 3, 2, 0)
        for number in range(self.size.units[level - 1]):
            stride = 2 if level > 1 and number == 0 else 1
            name = f"{start}stages.{level - 1}.blocks.{number}"
            x = self.unit(name, x, stride, number == 0)
        return x

    def gated(self, modality: str, level: int, x: Tensor) -> Tensor:
        name = f"trunks.{modality}.gates.{level}.weigh"
        y = F.conv2d(x.mean((2, 3), True), *self.parameters(f"{name}.0")).clamp(min=0)
        return x * torch.sigmoid(F.conv2d(y, *self.parameters(f"{name}.2")))

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        gain, bias = self.parameters(name)
        mean, variance = x.mean(-1, True), x.var(-1, correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-6).sqrt() * gain + bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        matrix, bias = self.parameters(name)
        return x @ matrix.T + bias

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """With an explicit matrix for every head."""
        heads, found = self.size.heads, []
        for q, k, v in zip(*(part.chunk(heads, 2) for part in (query, key, value)), strict=True):
            found.append((q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2) @ v)
        return torch.cat(found, 2)

    def layer(self, number: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        shares, names = torch.eye(2), [f"transformer.blocks.{number}.{stream}" for stream in (0, 1)]
        quarter = self.size.depth // 4
        if quarter <= number < self.size.depth - quarter:
            shares = self.weights[f"transformer.shares.{number - quarter}"]
        packed = []
        for name, stream in zip(names, (x, y), strict=True):
            normed = self.layer_norm(f"{name}.norm1", stream)
            packed.append(self.linear(f"{name}.attn.qkv", normed).chunk(3, 2))
        found = []
        for place, (name, stream) in enumerate(zip(names, (x, y), strict=True)):
            for other in (0, 1):
                seen = self.attend(packed[place][0], *packed[other][1:])
                # as published: each attention through the output map
                seen = self.linear(f"{name}.attn.proj", seen)
                stream = stream + shares[place, other] * seen
            inner = F.gelu(self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.norm2", stream)))
            found.append(stream + self.linear(f"{name}.mlp.fc2", inner))
        return found[0], found[1]

    def conv(self, name: str, number: int, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weights[f"{name}.{number}.weight"], padding=1)
        norm = f"{name}.{number + 1}"
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gain, bias = (self.weights[f"{norm}.{key}"][:, None, None] for key in keys)
        return ((x - mean) / (variance + 1e-5).sqrt() * gain + bias).clamp(min=0)

    def logits(self, rgb: Tensor, dsm: Tensor) -> Tensor:
        x, y, skips = rgb, dsm, []
        for level in range(4):
            x, y = self.step("rgb", level, x), self.step("dsm", level, y)
            x = self.gated("rgb", level, x) + self.gated("dsm", level, y)
            skips.append(x)
        grid, streams = x.shape[2:], []
        table = nn.UpsamplingBilinear2d(size=grid)(self.weights["positions"])
        for modality, maps in (("rgb", x), ("dsm", y)):
            maps = F.conv2d(maps, *self.parameters(f"trunks.{modality}.embedding")) + table
            streams.append(maps.flatten(2).transpose(1, 2))
        x, y = streams
        for number in range(self.size.depth):
            x, y = self.layer(number, x, y)
        x = self.layer_norm("transformer.norms.0", x) + self.layer_norm("transformer.norms.1", y)
        x = self.conv("decoder.start", 0, x.transpose(1, 2).reshape(len(x), -1, *grid))
        for number in range(4):
            x = nn.UpsamplingBilinear2d(scale_factor=2)(x)
            if number < 3:
                whole = torch.zeros(len(x), skips[2 - number].shape[1], *x.shape[2:]).double()
                height, width = skips[2 - number].shape[2:]
                whole[:, :, :height, :width] = skips[2 - number]
                x = torch.cat([x, whole], 1)
            x = self.conv(
                f"decoder.blocks.{number}", 3, self.conv(f"decoder.blocks.{number}", 0, x)
            )
        return F.conv2d(x, *self.parameters("decoder.head"), padding=1)
