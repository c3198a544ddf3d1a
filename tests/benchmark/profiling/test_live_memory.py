"""Bytes that live, against torch's own profiler on a CPU and against tensors counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from benchmark.experiment.models import build_model
from benchmark.profiling.live_memory import FusedAttention, LiveMemory

MODALITIES, CLASSES, SIDE, BATCH = {"rgb": 3, "dsm": 1}, 5, 128, 4
# what an operation needs for itself is in the profiler's sum and not followed: for a convolution on
# a CPU, a copy of its weights
TOLERANCE = 0.05


def allocated_peak(action: Callable[[], object], folder: Path) -> int:
    """The most that torch's CPU allocator held beyond what it held at first."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    profiler.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    found = [event["args"] for event in events if event["name"] == "[memory]"]
    held = [one["Total Allocated"] for one in found]
    return max(held) - (held[0] - found[0]["Bytes"])


def training_step(method: str, device: str) -> Callable[[], None]:
    """A step of a method in training mode with all sensors."""
    with torch.device(device):
        model = build_model(method, MODALITIES, CLASSES, backbone="pvt_v2_b0").train()

    def step() -> None:
        torch.manual_seed(0)
        images = {}
        for name, channels in MODALITIES.items():
            images[name] = torch.zeros(BATCH, channels, SIDE, SIDE, device=device)
        mask = torch.zeros(BATCH, SIDE, SIDE, dtype=torch.long, device=device)
        model.weighted_sum(model.training_losses({"image": images, "mask": mask})).backward()
        model.zero_grad()

    return step


@pytest.mark.parametrize("method", ["sgma", "control"])
def test_a_step_without_values_needs_what_the_profiler_of_torch_sees(
    method: str, tmp_path: Path
) -> None:
    # of attention a CPU has another fused kernel than a GPU
    with sdpa_kernel(SDPBackend.MATH):
        real = training_step(method, "cpu")
        real()
        measured = allocated_peak(real, tmp_path)
        empty = training_step(method, "meta")
        with LiveMemory("meta") as live:
            empty()
    assert live.peak == pytest.approx(measured, rel=TOLERANCE)


def test_what_is_gone_is_not_counted() -> None:
    with LiveMemory("meta") as live:
        whole = torch.empty(1024, 256, device="meta")
        view = whole.T[3:]
        other = whole + 1.0
        del whole, other
        assert (live.now, live.peak) == (1024 * 256 * 4, 2 * 1024 * 256 * 4)
        del view
        assert live.now == 0
        here = torch.empty(1024)
    assert len(here) == 1024 and live.now == 0, "of another device"


@pytest.mark.parametrize("masked", [False, True])
def test_fused_attention_keeps_no_matrix_of_weights(masked: bool) -> None:
    batch, heads, width = 2, 4, 64
    kept = []
    for tokens in (512, 1024):
        parts = torch.empty(3, batch, heads, tokens, width, device="meta", requires_grad=True)
        mask = torch.ones(1, 1, 1, tokens, dtype=torch.bool, device="meta") if masked else None
        with FusedAttention(), LiveMemory("meta") as live:
            mixed = F.scaled_dot_product_attention(*parts, attn_mask=mask)
        assert mixed.shape == (batch, heads, tokens, width)
        # the result, and a sum per row
        assert live.now == pytest.approx(4 * batch * heads * tokens * (width + 1), rel=0.01)
        kept.append(live.peak)
        mixed.sum().backward()
        assert parts.grad is not None and parts.grad.shape == parts.shape
    assert kept[1] == pytest.approx(2 * kept[0], rel=0.01)


def test_attention_of_three_dimensions_has_no_fused_kernel() -> None:
    heads, tokens, width = 4, 512, 64
    parts = torch.empty(3, heads, tokens, width, device="meta", requires_grad=True)
    with FusedAttention(), LiveMemory("meta") as live:
        mixed = F.scaled_dot_product_attention(*parts)
    assert mixed.shape == (heads, tokens, width) and live.now >= 4 * heads * tokens**2
