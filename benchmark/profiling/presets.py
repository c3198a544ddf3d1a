"""Which share of a batch a GPU has memory for: `HARDWARE=24gb` divides the batch accordingly.

A preset is nothing but `cell.accumulate`: batches that make one step of the published size. It is
visible as such in the configuration, in the identity and in tables, as if it had been typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmark.experiment.request import Request
from benchmark.profiling.profile import profile_method
from benchmark.profiling.training_step import StepCost, count_step, model_in_training
from usererror import UserError

AUTO = "auto"
NAMED = (8, 16, 24, 48, 80)  # GB of the devices of tables
GB = 2**30
# What is left of a device for what is counted: a tenth goes to what its driver keeps back, to
# workspaces of convolutions and to holes between tensors, and 1 GB to CUDA's context and libraries.
# An assumption: it was chosen, not measured.
SHARE, OVERHEAD = 0.9, GB

STEPS = (
    "Counted, not measured: no GPU was at hand. Memory in GB (2^30 bytes) of one training step in "
    "float32 with the whole batch: all tensors that live at its peak, weights, gradients and the "
    "state of AdamW (kept) included, attention as the fused kernels of a GPU compute it. GMAC: 1e9 "
    "multiply-accumulates of a step, forward and backward. For each GPU, of whose memory a tenth "
    "and 1 GB are left for everything else: windows at a time x batches of a step, a dash where "
    "no division fits."
)


def usable_memory(device: float) -> float:
    """Bytes for tensors on a device of so many bytes.

    Example:
        >>> round(usable_memory(24 * GB) / GB, 1)
        20.6
    """
    return SHARE * device - OVERHEAD


def read_hardware(word: str) -> int:
    """Read `24gb`, or take the first GPU's for `auto`: bytes, of whole GB.

    Example:
        >>> read_hardware("24gb") == 24 * GB
        True
    """
    if word == AUTO:
        if not torch.cuda.is_available():
            raise UserError("HARDWARE=auto asks for a GPU, and there is none: name a size, 24gb.")
        return device_memory(torch.device("cuda", 0)) or 0
    if found := re.fullmatch(r"([1-9]\d*)gb", word.casefold()):
        return int(found[1]) * GB
    listed = ", ".join(map("{}gb".format, NAMED))
    raise UserError(f"HARDWARE is {word!r}: give auto, or memory such as {listed}.")


def device_memory(device: torch.device) -> int | None:
    """Bytes that a GPU has, rounded to whole GB as its name is; None for other devices."""
    if device.type != "cuda":
        return None
    return GB * round(torch.cuda.get_device_properties(device).total_memory / GB)


def count_divisions(request: Request, side: int = 0) -> Iterator[tuple[int, int, StepCost]]:
    """Count a step whose batch is whole, then divided: (parts, windows of each, cost).

    It ends with the smallest batch that the method takes.
    """
    profiled = profile_method(request, side)
    model = model_in_training(request, profiled)
    size = profiled.config["data"]["init_args"]["batch_size"]
    for parts in range(1, size + 1):
        if size % parts:
            continue
        if parts > 1 and not model.automatic_optimization:
            return  # it steps by itself, hence with every batch
        try:
            cost = count_step(model, profiled.inputs.side, size // parts)
        except (ValueError, RuntimeError, UserError) as error:
            if parts > 1:
                return  # batch norms see a single value
            problem = f"{request.variant} cannot be counted without values ({error})"
            raise UserError(f"{problem}: to divide its batch, give ACCUMULATE.") from error
        yield parts, size // parts, cost


def fit_batch(request: Request, hardware: str) -> Request:
    """Divide the batch of a request until a step fits; prints what it found.

    Raises:
        UserError: nothing fits, or the batch is divided by hand already.
    """
    device = read_hardware(hardware)
    if any(word.startswith("--cell.accumulate") for word in request.overrides):
        raise UserError("HARDWARE chooses ACCUMULATE: leave one of them out.")
    windows = needed = 0.0
    for parts, windows, cost in count_divisions(request):
        needed = cost.memory / GB
        if cost.memory <= usable_memory(device):
            said = f"HARDWARE={hardware}: a step of {request.variant} needs about {needed:.1f} GB"
            print(f"{said} with {windows} windows at a time; {_named(parts)}.", flush=True)
            if parts == 1:
                return request
            return replace(request, overrides=(f"--cell.accumulate={parts}", *request.overrides))
    least = f"{request.variant} needs about {needed:.1f} GB with {windows} windows at a time"
    room = f"{usable_memory(device) / GB:.1f} GB of HARDWARE={hardware} are for tensors"
    raise UserError(f"{least}, its fewest, and {room}: take a smaller BACKBONE or data.window.")


def warn_if_too_small(request: Request, device: int | None) -> None:
    """Print a line if a device of so many bytes has too little for a step; None is no GPU."""
    if device is None:
        return
    whole, size = "", device // GB
    try:
        for parts, windows, cost in count_divisions(request):
            if cost.memory <= usable_memory(device):
                if whole:
                    print(f"{whole}: HARDWARE={size}gb divides the batch ({_named(parts)}).")
                return
            needs = f"{request.variant} needs about {cost.memory / GB:.1f} GB"
            has = f"this GPU has {size} GB"
            whole = whole or f"A step of {windows} windows of {needs}, and {has}"
    except Exception as error:
        # a method of the user's own may do anything: what cannot be counted is tried
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        print(f"Whether a step fits into the {size} GB of this GPU could not be counted: {reason}")
        return
    print(f"{whole}: no division of the batch fits; take a smaller BACKBONE or data.window.")


def _named(parts: int) -> str:
    return "the batch stays whole" if parts == 1 else f"ACCUMULATE={parts}, a row of its own"


def training_row(request: Request, side: int = 0) -> dict[str, Any]:
    """Describe a step at the published batch, and how each named device divides it."""
    named = profile_method(request, side).names()
    cells = dict.fromkeys(map("{} GB".format, NAMED), "-")
    first: StepCost | None = None
    batch = 0
    for parts, windows, cost in count_divisions(request, side):
        first, batch = first or cost, max(batch, windows)
        for size in NAMED:
            if cells[f"{size} GB"] == "-" and cost.memory <= usable_memory(size * GB):
                cells[f"{size} GB"] = f"{windows} x {parts}"
        if "-" not in cells.values():
            break
    assert first  # a batch has its whole
    counts = {"batch": batch, "kept GB": first.kept / GB, "memory GB": first.memory / GB}
    return named | counts | {"GMAC a step": first.gmac} | cells
