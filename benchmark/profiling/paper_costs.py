"""Costs that papers print, counted on the built modules: written by `profile --all`, read by `tables` without torch.

SGMA's Table IX gives its methods' parts behind the encoder. How far the part goes is established for SGMA's own row
only (SGMA dossier, section 12: the fusion, without encoder and head); so each method stands there with and without its
head. MoBaNet's Tables III and IV give trained parameters with two sensors and six classes (MoBaNet dossier, sections 4
and 8).
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.formats.files import write_texts
from benchmark.papers.costs import COSTS_FILE, PublishedCost

if TYPE_CHECKING:
    from benchmark.profiling.profile import Setting

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


def published_costs(arguments: argparse.Namespace) -> list[PublishedCost]:
    """Count every line; slow (seconds a method), and torch is needed."""
    from benchmark.profiling.profile import setting

    def names(data: str, protocol: str) -> argparse.Namespace:
        options = {"data": data, "protocol": protocol, "backbone": "", "side": ""}
        return argparse.Namespace(**{**vars(arguments), **options})

    lines = []
    for (method, variant), name in SGMA_IX.items():
        for counted, without in PARTS.items():
            size, gmac = behind(setting(name, names("potsdam", "standard")), without)
            lines.append(
                PublishedCost("sgma", "IX", method, variant, counted, str(size), f"{gmac:.6f}")
            )
    for variant, name in MOBANET.items():
        size = trained(setting(name, names("potsdam", "mobanet"), OPTICAL_AND_HEIGHTS))
        for table in ("III", "IV") if variant == "full" else ("IV",):
            lines.append(
                PublishedCost("mobanet", table, "mobanet", variant, TRAINED, str(size), "")
            )
    return lines


def behind(chosen: Setting, without: Iterable[str]) -> tuple[int, float]:
    """(parameters, GMAC) of a full set outside of these children of the network, without what only a loss reads."""
    import torch

    from benchmark.profiling.complexity import evaluation_gmac, gmac_by_module, parameters_in_graph
    from benchmark.profiling.cost import decode_subsets, random_images

    with torch.device("meta"):
        model = chosen.build()
    given = random_images(model.modalities, chosen.given.side, "meta")
    left_out = {name: getattr(model.network, name) for name in without}
    elsewhere = {id(weight) for part in left_out.values() for weight in part.parameters()}
    full = tuple(given)

    def call() -> list[torch.Tensor]:
        return decode_subsets(model, given, [full])

    size = sum(
        weight.numel() for weight in parameters_in_graph(model, call) if id(weight) not in elsewhere
    )
    whole = evaluation_gmac(call)
    # folded weights are kept by now: what a part does in this call is what it does in every window
    with (
        gmac_by_module(left_out) as found,
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        call()
    return size, whole - sum(found.values())


def trained(chosen: Setting) -> int:
    """Parameters that training changes."""
    import torch

    from benchmark.profiling.complexity import TOTAL, count_parameters

    with torch.device("meta"):
        return count_parameters(chosen.build())[TOTAL]


def write_published(directory: Path, arguments: argparse.Namespace) -> list[Path]:
    """Count and write `papers.csv`; returns its path."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([field.name for field in fields(PublishedCost)])
    writer.writerows(astuple(line) for line in published_costs(arguments))
    return write_texts(directory, {COSTS_FILE: stream.getvalue()})
