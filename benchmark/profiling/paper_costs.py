"""Costs that papers print, counted on the built modules, for tables that import no torch.

SGMA's Table IX gives its methods' parts behind the encoder. How far the part goes is established
for SGMA's own row only (SGMA dossier, section 12: the fusion, without encoder and head); so each
method stands there with and without its head. MoBaNet's Tables III and IV give trained parameters
with six classes (dossiers of MoBaNet, sections 4 and 8, and of its comparison networks, 0.1).
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

# variants of the reported tables by METHOD, and METHOD by variant
SGMA_IX = {"muss": "-", "m3l": "-", "imlt": "-", "magic": "-", "sgma": "full"}
MOBANET = {"base": "mobanet_base", "base+cpia": "mobanet_cpia"}
MOBANET |= {"base+cpia+dgfm": "mobanet_cpia_dgfm", "full": "mobanet"}
# rows of networks that see the optical image alone
MOBANET_III = {"unetformer": "unetformer_optical", "abcnet": "abcnet_optical"}
MOBANET_III |= {"dc_swin": "dc_swin_optical"}
PARTS = {"without encoder and head": ("encoder", "head"), "without encoder": ("encoder",)}
TRAINED, TRAINED_R = "trained, R+D, K = 6", "trained, R, K = 6"


def count_published_costs(store: Path) -> list[PublishedCost]:
    """Count every line; seconds a method."""
    from benchmark.profiling.profile import profile_method

    lines = []
    for method, variant in SGMA_IX.items():
        profiled = profile_method(Request(method, "potsdam", store=store))
        for counted, without in PARTS.items():
            size, gmac = cost_without(profiled, without)
            numbers = str(size), f"{gmac:.6f}"
            lines.append(PublishedCost("sgma", "IX", method, variant, counted, *numbers))

    def count_trained(name: str) -> str:
        request = Request(name, "potsdam", "mobanet", store=store)
        return str(trainable_parameters(profile_method(request)))

    for variant, name in MOBANET.items():
        trained = count_trained(name)
        for table in ("III", "IV") if variant == "full" else ("IV",):
            lines.append(PublishedCost("mobanet", table, "mobanet", variant, TRAINED, trained, ""))
    for method, name in MOBANET_III.items():
        numbers = count_trained(name), ""
        lines.append(PublishedCost("mobanet", "III", method, "-", TRAINED_R, *numbers))
    return lines


def cost_without(profiled: ProfiledMethod, without: Iterable[str]) -> tuple[int, float]:
    """Count (parameters, GMAC) of a full set outside of some children of the network.

    What only a loss reads is left out too.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from benchmark.profiling import complexity
    from benchmark.profiling.cost import decode_subsets, random_images

    with torch.device("meta"):
        model = profiled.build()
    images = random_images(model.modalities, profiled.inputs.side, "meta")
    # by identity: a weight that two children share is left out with either
    left_out = {name: getattr(model.network, name) for name in without}
    elsewhere = {id(weight) for part in left_out.values() for weight in part.parameters()}

    def decode_full_set() -> list[torch.Tensor]:
        return decode_subsets(model, images, [tuple(images)])

    used = complexity.parameters_in_graph(model, decode_full_set)
    size = complexity.count_elements(weight for weight in used if id(weight) not in elsewhere)
    whole = complexity.evaluation_gmac(decode_full_set)
    # folded weights are kept by now: what a part does in this call is what it does in every window
    watched = complexity.gmac_by_module(left_out)
    with watched as found, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        decode_full_set()
    return size, whole - sum(found.values())


def trainable_parameters(profiled: ProfiledMethod) -> int:
    """Count the parameters that training changes."""
    import torch

    from benchmark.profiling.complexity import count_trainable

    with torch.device("meta"):
        return count_trainable(profiled.build())


def write_published_costs(directory: Path, store: Path) -> list[Path]:
    """Count and write `papers.csv`; returns its path."""
    frame = pd.DataFrame(count_published_costs(store))
    return write_texts(directory, {COSTS_FILE: csv_text(frame)})
