"""Encoders compiled in place, where torch finds what it needs for that."""

from typing import Literal

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.parts.network import AnyModalityNetwork

# modules that torch compiles, for speed
Compile = Literal["none", "encoder"]
# of one function: encoders of one class for several modalities, in training and in evaluation, for
# the number of windows in a full batch and for any other
MOST_VERSIONS = 64


def compile_where_possible(
    wanted: Compile, model: AnyModalitySegmenter, device: torch.device
) -> Compile:
    """Compile what is wanted, or say in one line why not; return what was compiled."""
    if wanted == "none":
        return "none"
    if problem := compile_encoders(model, device):
        rank_zero_only(print)(f"The encoders are not compiled: {problem}.")
        return "none"
    return "encoder"


def compile_encoders(model: AnyModalitySegmenter, device: torch.device) -> str:
    """Compile what a method encodes images with, each module at its first call.

    Weights keep their names, random draws are those of uncompiled encoders, a graph break is an
    error. Returns why nothing was compiled, empty if all was.
    """
    network = getattr(model, "network", None)
    encoders = network.encoding_modules() if isinstance(network, AnyModalityNetwork) else []
    if not encoders:
        return f"{type(model).__name__} names no encoding_modules"
    if problem := compiler_problem(device):
        return problem
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    for encoder in encoders:
        encoder.compile(fullgraph=True, options={"fallback_random": True})
    return ""


def compiler_problem(device: torch.device) -> str:
    """Say what torch lacks to compile for a device, by compiling an addition; empty for nothing."""
    try:
        torch.compile(_add_one)(torch.zeros(1, device=device))
    except Exception as error:
        # a compiler, its headers, Triton, a directory to write to: each has an exception of its own
        return f"torch cannot compile here ({str(error).strip().splitlines()[0]})"
    return ""


def _add_one(values: Tensor) -> Tensor:
    return values + 1
