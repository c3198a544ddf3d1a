"""Networks of one image for the tests: small, and away from the starts at zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmark.experiment.models import build_model
from benchmark.profiling.complexity import (
    count_elements,
    count_parameters,
    evaluation_gmac,
    parameters_in_graph,
)
from methods.single_stream.module import SingleStream
from tests.support.contract import THREE, MethodContract

RESNET = {"backbone": "test_resnet"}  # of timm, a thirtieth of ResNet-18
SENSORS = ({"rgb": 3, "dsm": 1}, {"rgb": 3, "dsm": 1, "nir": 1})


def leave_zero_starts(module: nn.Module) -> None:
    """Give blocks that start with a factor of zero one that lets gradients through.

    timm's ResNets end every residual block with a batch norm of gain 0.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)


class SingleStreamContract(MethodContract):
    method = SingleStream

    @classmethod
    def make(cls, modalities: dict[str, int] = THREE, seed: int = 0, **options: Any) -> Any:
        module = super().make(modalities, seed, **options)
        leave_zero_starts(module)
        return module


def costs(row: str, channels: dict[str, int], classes: int = 6) -> tuple[int, int, float]:
    """Trained parameters as built, those of the logits, and GMAC of a full set at 256 px."""
    with torch.device("meta"):
        model = build_model(row, channels, classes).eval()
        images = {m: torch.empty(1, count, 256, 256) for m, count in channels.items()}
    used = parameters_in_graph(model, lambda: [model(images)])
    gmac = evaluation_gmac(lambda: model(images))
    return count_parameters(model)["total"], count_elements(used), gmac
