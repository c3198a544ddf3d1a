"""What a training step of MoBaNet takes: peak memory and time, on the CPU or a GPU; random frozen
weights do for that.

    python -m tests.support.smoke_mobanet --backbone vit_base_patch14_dinov2 --size 266 --batch 2

On a GPU: float32 and bfloat16 autocast, steps per second over 20 steps after 5.
"""

from __future__ import annotations

import argparse
import resource
import time
from contextlib import nullcontext

import torch

from methods.mobanet.module import MoBaNet
from methods.parts.optim import parameter_groups

MODALITIES = {"rgb": 3, "dsm": 1}


def batch(size: int, count: int, device: str) -> dict:
    generator = torch.Generator().manual_seed(0)
    draw = {
        m: torch.randn(count, c, size, size, generator=generator).to(device)
        for m, c in MODALITIES.items()
    }
    mask = torch.randint(0, 6, (count, size, size), generator=generator).to(device)
    return {
        "image": draw,
        "mask": mask,
        "available": {m: torch.ones(count, dtype=torch.bool, device=device) for m in draw},
    }


def steps(module: MoBaNet, given: dict, count: int, half: bool) -> float:
    """Seconds per optimisation step."""
    optimizer = torch.optim.AdamW(parameter_groups(module.parameters(), 1e-2), lr=2e-4)
    device = given["mask"].device.type
    started = time.perf_counter()
    for step in range(count):
        if device == "cuda" and step == 5:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16) if half else nullcontext():
            loss = module.weighted_sum(module.training_losses(given))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / (count - 5 if device == "cuda" else count)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch14_dinov2")
    parser.add_argument("--size", type=int, default=266)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    module = MoBaNet(MODALITIES, 6, backbone=options.backbone, pretrained=False, mask_ratio=0.5)
    module.to(options.device).train()
    given = batch(options.size, options.batch, options.device)
    for half in (False, True) if options.device == "cuda" else (False,):
        seconds = steps(module, given, 25 if options.device == "cuda" else 1, half)
        if options.device == "cuda":
            peak, name = torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
        else:
            peak, name = (
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "whole process on the CPU",
            )
        print(
            f"{options.backbone} at {options.size} px, batch {options.batch}, "
            f"{'bf16' if half else 'fp32'}: "
            f"{seconds:.2f} s per step, peak {peak / 1e9:.2f} GB ({name})"
        )


if __name__ == "__main__":
    main()
