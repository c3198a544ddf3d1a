"""Costs that papers print, counted on the built modules, for tables that import no torch.

SGMA's Table IX gives its methods' parts behind the encoder. How far the part goes is established
for SGMA's own row only (SGMA dossier, section 12: the fusion, without encoder and head); so each
method stands there with and without its head. MoBaNet's Tables III and IV give trained parameters
with two sensors and six classes (MoBaNet dossier, sections 4 and 8).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.experiment.request import Request
from benchmark.formats.files import csv_text, write_texts
from benchmark.papers.costs import COSTS_FILE, PublishedCost

if TYPE_CHECKING:
    from benchmark.profiling.profile import ProfiledMethod

# (method, variant) of the reported tables -> METHOD
SGMA_IX = {
    ("muss", "-"): "muss",
    ("m3l", "-"): "m3l",
    ("imlt", "-"): "imlt",
    ("magic", "-"): "magic",
    ("sgma", "full"): "sgma",
}
MOBANET = {
    "base": "mobanet_base",
    "base+cpia": "mobanet_cpia",
    "base+cpia+dgfm": "mobanet_cpia_dgfm",
    "full": "mobanet",
}
PARTS = {"without encoder and head": ("encoder", "head"), "without encoder": ("encoder",)}
TRAINED = "trained, R+D, K = 6"
OPTICAL_AND_HEIGHTS = ("--data.init_args.modalities", "[rgb, dsm]")


def count_published_costs(store: Path) -> list[PublishedCost]:
    """Count every line; seconds a method.

    Args:
        store: directory of scene stores.
    """
    from benchmark.profiling.profile import profile_method

    lines = []
    for (method, variant), name in SGMA_IX.items():
        profiled = profile_method(Request(name, "potsdam", store=store))
        for counted, without in PARTS.items():
            size, gmac = cost_without(profiled, without)
            numbers = str(size), f"{gmac:.6f}"
            lines.append(PublishedCost("sgma", "IX", method, variant, counted, *numbers))
    for variant, name in MOBANET.items():
        request = Request(name, "potsdam", "mobanet", store=store, overrides=OPTICAL_AND_HEIGHTS)
        trained = str(trainable_parameters(profile_method(request)))
        for table in ("III", "IV") if variant == "full" else ("IV",):
            lines.append(PublishedCost("mobanet", table, "mobanet", variant, TRAINED, trained, ""))
    return lines


def cost_without(profiled: ProfiledMethod, without: Iterable[str]) -> tuple[int, float]:
    """Count (parameters, GMAC) of a full set outside of some children of the network.

    What only a loss reads is left out too.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from benchmark.profiling.complexity import (
        evaluation_gmac,
        gmac_by_module,
        parameters_in_graph,
    )
    from benchmark.profiling.cost import decode_subsets, random_images

    with torch.device("meta"):
        model = profiled.build()
    images = random_images(model.modalities, profiled.inputs.side, "meta")
    # by identity: a weight that two children share is left out with either
    left_out = {name: getattr(model.network, name) for name in without}
    elsewhere = {id(weight) for part in left_out.values() for weight in part.parameters()}

    def decode_full_set() -> list[torch.Tensor]:
        return decode_subsets(model, images, [tuple(images)])

    used = parameters_in_graph(model, decode_full_set)
    size = sum(weight.numel() for weight in used if id(weight) not in elsewhere)
    whole = evaluation_gmac(decode_full_set)
    # folded weights are kept by now: what a part does in this call is what it does in every window
    with gmac_by_module(left_out) as found, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        decode_full_set()
    return size, whole - sum(found.values())


def trainable_parameters(profiled: ProfiledMethod) -> int:
    """Count the parameters that training changes."""
    import torch

    from benchmark.profiling.complexity import TOTAL, count_parameters

    with torch.device("meta"):
        return count_parameters(profiled.build())[TOTAL]


def write_published_costs(directory: Path, store: Path) -> list[Path]:
    """Count and write `papers.csv`; returns its path."""
    frame = pd.DataFrame(count_published_costs(store))
    return write_texts(directory, {COSTS_FILE: csv_text(frame)})
