"""What one training step costs in memory and products, counted without a value being computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchmark.experiment.request import teacher_request
from benchmark.profiling.live_memory import FusedAttention, LiveMemory
from benchmark.profiling.profile import profile_method
from benchmark.profiling.step_products import StepProducts
from methods.taught import TaughtSegmenter

if TYPE_CHECKING:
    from benchmark.experiment.request import Request
    from benchmark.profiling.profile import ProfiledMethod
    from methods.base import AnyModalitySegmenter

META = "meta"
STATES = 2  # of AdamW, each of the size of what is trained


@dataclass(frozen=True)
class StepCost:
    """Bytes at the peak of a step, and its multiply-accumulates in 1e9."""

    kept: int  # weights, gradients and the optimiser's state
    memory: int  # these included
    gmac: float  # forward and backward


def model_in_training(request: Request, profiled: ProfiledMethod) -> AnyModalitySegmenter:
    """Build the module of a request without values, in training mode; a teacher if it has one."""
    with torch.device(META):
        model = profiled.build().train()
        if isinstance(model, TaughtSegmenter):
            asked = teacher_request(request, profiled.config["cell"])
            if asked is not None:
                model.take_teacher(profile_method(asked).build())
    # the format of a run, in which other operations copy
    return model.to(memory_format=torch.channels_last)


def count_step(model: AnyModalitySegmenter, side: int, batch: int) -> StepCost:
    """Count a step of `batch` windows of `side` px whose samples have every sensor.

    The most of two steps: as the method draws subsets at the end of its training, and with every
    sensor shown. Old gradients are there, as they are with batches that are accumulated.

    Raises:
        ValueError: as torch does, where batch norms see a single value.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    model.progress, own = 1.0, model.subsets
    peaks, products = [], []
    for rule in dict.fromkeys((own, "full")):
        model.subsets = rule
        peak, gmac = _count_once(model, side, batch)
        peaks.append(peak)
        products.append(gmac)
    model.subsets = own
    kept = _bytes_kept(model) + (1 + STATES) * sum(p.nbytes for p in trained)
    return StepCost(kept, kept + max(peaks), max(products))


def _count_once(model: AnyModalitySegmenter, side: int, batch: int) -> tuple[int, float]:
    """Go forward and backward: bytes at the peak, and GMAC."""
    with (
        torch.random.fork_rng(devices=[]),
        FusedAttention(),
        LiveMemory(META) as live,
        StepProducts() as products,
    ):
        torch.manual_seed(0)
        shape = (side, side)
        images = {}
        for name, channels in model.modalities.items():
            images[name] = torch.empty(batch, channels, *shape, device=META)
        mask = torch.empty(batch, *shape, dtype=torch.long, device=META)
        model.weighted_sum(model.training_losses({"image": images, "mask": mask})).backward()
    return live.peak, products.flops / 2e9


def _bytes_kept(model: AnyModalitySegmenter) -> int:
    """Count the bytes of weights and buffers, those of a teacher included."""
    parts = [model, model.teacher] if isinstance(model, TaughtSegmenter) else [model]
    return sum(t.nbytes for part in parts for t in (*part.parameters(), *part.buffers()))
