"""Ways to compute a method: the products' precision, the layout of images, compiled encoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from benchmark.computation.compilation import compile_encoders
from benchmark.computation.products import round_products
from methods.base import AnyModalitySegmenter
from usererror import UserError


@dataclass(frozen=True)
class Variant:
    """One way to compute; the default is full float32, eager."""

    name: str
    tf32: bool = False
    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False

    @property
    def products(self) -> str:
        """What its matrix products are computed in."""
        return "bf16" if self.bf16 else "tf32" if self.tf32 else "fp32"

    @property
    def layout(self) -> torch.memory_format:
        """How its images lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def prepare(self, model: AnyModalitySegmenter, device: torch.device) -> None:
        """Move a model to the device as this variant has it; where that fails, a UserError."""
        model.to(device, memory_format=self.layout)
        if self.compiled and (problem := compile_encoders(model, device)):
            raise UserError(problem)

    @contextmanager
    def products_of(self, device: torch.device) -> Iterator[None]:
        """Within, products are computed as this variant has them."""
        round_products(device, exact=not self.tf32)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            yield


EAGER = Variant("fp32, eager")


def all_variants(device: torch.device) -> list[Variant]:
    """List what is compared on a device; TensorFloat-32 is a GPU's."""
    on_gpu = device.type == "cuda"
    return [
        EAGER,
        *([Variant("tf32", tf32=True)] if on_gpu else []),
        Variant("bf16", bf16=True),
        Variant("channels_last", channels_last=True),
        Variant("compile", compiled=True),
        Variant("all together", on_gpu, bf16=True, channels_last=True, compiled=True),
    ]
