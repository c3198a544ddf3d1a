"""Costs that papers print, counted on the built modules, for tables that import no torch.

SGMA's Table IX gives its methods' parts behind the encoder. How far the part goes is established
for SGMA's own row only (SGMA dossier, section 12: the fusion, without encoder and head); so each
method stands there with and without its head. MoBaNet's Tables III and IV give trained parameters
with two sensors and six classes (MoBaNet dossier, sections 4 and 8); so do those of the networks
that it compares with (dossier of those, section 0.1), auxiliary heads included.
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
# by id of the table: METHOD, and what the released module trains though nothing ever calls it
COMPARED = {
    "abcnet": ("abcnet_optical", 0),
    "dc_swin": ("dc_swin_optical", 0),
    "unetformer": ("unetformer_optical", 0),
    # two classifiers of ImageNet
    "cmgfnet": ("cmgfnet", 2 * 513_000),
    # prompt encoder and mask decoder of SAM
    "manet": ("manet", 6_220 + 4_058_340),
    "ftransunet": ("ftransunet", 0),
}
PARTS = {"without encoder and head": ("encoder", "head"), "without encoder": ("encoder",)}
# one for all rows of a table, which are ranked together
TRAINED = {"III": "trained, K = 6", "IV": "trained, R+D, K = 6"}


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

    def trained(method: str) -> int:
        return trainable_parameters(
            profile_method(Request(method, "potsdam", "mobanet", store=store))
        )

    for method, (name, unused) in COMPARED.items():
        count = str(trained(name) + unused)
        lines.append(PublishedCost("mobanet", "III", method, "-", TRAINED["III"], count, ""))
    for variant, name in MOBANET.items():
        count = str(trained(name))
        for table in ("III", "IV") if variant == "full" else ("IV",):
            lines.append(
                PublishedCost("mobanet", table, "mobanet", variant, TRAINED[table], count, "")
            )
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
