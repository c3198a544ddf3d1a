"""MoBaNet on SAM's form of a ViT, with adapters, fulfils the contract."""

from __future__ import annotations

from methods.mobanet.module import MoBaNet
from tests.support.contract import MethodContract
from tests.support.mobanet_tiny import GATE


class TestMoBaNetSAMAdapters(MethodContract):
    method = MoBaNet
    options = {"backbone": "samvit_tiny_patch8", "pretrained": False, "cpia": "paper_eq9"}
    counts = (3,)
    # the adapter's up-projection starts at zero, too, and its bottleneck and the whole prompt lie
    # before it
    silent = (
        *GATE,
        *(
            f"cpia.{i}.{part}.{p}"
            for i in range(4)
            for part in ("mix", "up")
            for p in ("weight", "bias")
        ),
        *(f"cpia.{i}.{part}.{j}" for i in range(4) for part in ("gamma", "beta") for j in range(4)),
        *(f"cpia.{i}.down.{j}.{p}" for i in range(4) for j in range(4) for p in ("weight", "bias")),
        *(
            f"adapters.{j}.{part}.{p}"
            for j in range(4)
            for part in ("down", "prompt")
            for p in ("weight", "bias")
        ),
    )
