"""Started by tests/methods/test_gaps_in_processes.py: two processes take a step of every method,
each with other sensors missing, and say how far the gradients are from the mean of both.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from methods.base import AnyModalitySegmenter
from tests.support.contract import MethodContract
from tests.support.method_checks import CHANNELS, training_batch

TESTS = Path(__file__).parent.parent / "methods"
PATIENCE = timedelta(seconds=60)  # for a process that waits for a gradient which never comes


def contracts() -> dict[str, type[MethodContract]]:
    """Return the first contract of every method."""
    for path in sorted(TESTS.rglob("test_*.py")):
        if "Contract)" in path.read_text(encoding="utf-8"):
            name = ".".join(("tests", *path.relative_to(TESTS.parent).with_suffix("").parts))
            importlib.import_module(name)
    found: dict[str, type[MethodContract]] = {}
    for contract in _below(MethodContract):
        # what only serves others has no tests of its own; another file's method may be no method
        if contract.__module__.startswith("tests.methods.") and contract.__name__.startswith(
            "Test"
        ):
            found.setdefault(contract.method.__name__, contract)
    return found


def _below(contract: type[MethodContract]) -> Iterator[type[MethodContract]]:
    for one in contract.__subclasses__():
        yield one
        yield from _below(one)


class Step(nn.Module):
    """The loss of a batch as the forward pass that DDP wraps."""

    def __init__(self, method: AnyModalitySegmenter) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.method.weighted_sum(self.method.training_losses(batch))


def gradients(module: nn.Module, batch: dict[str, Any], rank: int) -> list[Tensor]:
    torch.manual_seed(rank)
    module(batch).backward()
    trained = [p for p in module.parameters() if p.requires_grad]
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]


def distances(method: AnyModalitySegmenter, rank: int) -> tuple[float, float]:
    """Return how far DDP's gradients, and this process's own, are from the mean of both processes'
    own: the largest difference as a share of the largest gradient.
    """
    modalities = method.modalities
    batch = training_batch(modalities, seed=rank)
    # each process misses a sensor that the other one has
    gone = list(modalities)[-1 if rank == 0 else 0]
    batch = {**batch, "image": {m: x for m, x in batch["image"].items() if m != gone}}
    batch["available"] = {m: x for m, x in batch["available"].items() if m != gone}
    step = Step(method.train())
    own = gradients(deepcopy(step), batch, rank)
    expected = [part.clone() for part in own]
    for part in expected:
        dist.all_reduce(part)
        part /= 2
    found = gradients(DistributedDataParallel(step, find_unused_parameters=True), batch, rank)
    largest = max(float(part.abs().max()) for part in expected)

    def apart(parts: list[Tensor]) -> float:
        pairs = zip(parts, expected, strict=True)
        return max(float((one - other).abs().max()) for one, other in pairs) / largest

    return apart(found), apart(own)


def main(rank: int, meeting: str, out: Path) -> None:
    dist.init_process_group("gloo", f"file://{meeting}", PATIENCE, 2, rank)
    told = {}
    for name, contract in contracts().items():
        count = max(number for number in contract.counts if number < 4)
        method = contract.make(dict(list(CHANNELS.items())[:count]))
        if method.automatic_optimization:
            told[name] = distances(method, rank)
            # what was reached is known even if the next one waits for ever
            (out / f"{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
