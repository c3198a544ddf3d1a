"""A fixed set of matrices for every row of the published tables that has a name in this suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmark.metrics.confusion import Convention
from benchmark.metrics.subsets import modality_subsets
from benchmark.papers.measured import MeasuredRuns
from benchmark.records.record import Record
from benchmark.records.selection import RecordSelection
from tests.support.toy_records import PROTOCOL, toy_manifest

ISPRS = ("impervious_surface", "building", "low_vegetation", "tree", "car", "clutter")
CLASSES = {"potsdam": ISPRS, "vaihingen": ISPRS, "dfc2023": ("ground", "building")}
CLASSES["deliver"] = tuple(f"class_{number}" for number in range(25))
RIVALS = ("muss", "m3l", "imlt", "magic", "sgma")
# (dataset, letters, configs, backbones, protocol)
CELLS = [
    *(
        (data, letters, RIVALS, ("pvt_v2_b2", "resnet50"), "sgma")
        for data, letters in {"potsdam": "RDN", "dfc2023": "RDS", "deliver": "RDEL"}.items()
    ),
    ("potsdam", "RDN", ("sgma_additive", "sgma_sgf_only"), ("pvt_v2_b2",), "sgma"),
    (
        "potsdam",
        "RD",
        ("mobanet",),
        ("vit_base_patch14_dinov2", "vit_large_patch14_dinov2"),
        "mobanet",
    ),
    ("potsdam", "RD", ("mobanet_base", "mobanet_no_mcrm"), ("vit_base_patch14_dinov2",), "mobanet"),
    ("vaihingen", "ID", ("mobanet",), ("vit_base_patch14_dinov2",), "mobanet"),
    *(
        (data, "ID", ("gemmnet_ae", "cgan", "mmformer"), ("none",), "gemmnet")
        for data in ("potsdam", "vaihingen")
    ),
]


def matrices(seed: int, subsets: int, labels: int, outputs: int) -> np.ndarray:
    """Counts by a formula, so that no generator of random numbers can change them."""
    subset, true, predicted = np.meshgrid(
        np.arange(subsets), np.arange(labels), np.arange(outputs), indexing="ij"
    )
    counts = (97 * subset + 131 * true + 57 * predicted + 41 * seed + 7 * true * predicted) % 113
    hits = (true == predicted) * (1000 + 37 * ((11 * subset + 5 * true + seed) % 29))
    return (counts + hits).astype(np.int64)[:, None, None]


def fixed_record(
    data: str, letters: str, config: str, backbone: str, protocol: str, seed: int, **more: Any
) -> Record:
    """A record with the fixed matrices; `more` goes into its manifest."""
    classes, clutter_is_class = CLASSES[data], protocol == "mobanet"
    scored = [number for number, name in enumerate(classes) if name != "clutter"]
    outputs = list(range(len(classes))) if clutter_is_class else scored
    ignored = [
        number for number, name in enumerate(classes) if name == "clutter" and not clutter_is_class
    ]
    subsets = tuple("+".join(subset) for subset in modality_subsets(letters))
    number = sum(map(ord, data + config + backbone)) + 1000 * seed
    fields = {
        "identity": f"{data}-{config}-{backbone}-{protocol}-{seed}",
        "group": f"{data}-{config}-{backbone}-{protocol}",
        "data": data,
        "backbone": backbone,
        "protocol": PROTOCOL.model_copy(
            update={"name": protocol, "selection": "last", "selected": "last"}
        ),
        "fingerprint": f"{data:f<64}",
        "created": f"2026-01-0{seed + 1}",
        "convention": Convention(tuple(outputs), tuple(scored), tuple(ignored)),
    }
    manifest = toy_manifest(config, seed, **{**fields, **more})
    counts = matrices(number, len(subsets), len(classes), len(outputs))
    return Record(
        Path("."),
        manifest,
        subsets,
        ("all",),
        ("interior",),
        classes,
        counts,
        np.full((len(subsets), 1), 14),
    )


def fixed_records() -> dict[str, list[Record]]:
    """All of them by dataset; SGMA's own rows have two seeds."""
    by_data: dict[str, list[Record]] = {}
    for data, letters, configs, backbones, protocol in CELLS:
        for config in configs:
            for backbone in backbones:
                for seed in range(2 if config == "sgma" else 1):
                    record = fixed_record(data, letters, config, backbone, protocol, seed)
                    by_data.setdefault(data, []).append(record)
    return by_data


def fixed_runs() -> MeasuredRuns:
    """All of them, as the tables of the papers read them."""
    selections = {data: RecordSelection(records) for data, records in fixed_records().items()}
    return MeasuredRuns(selections)


def golden_texts() -> dict[str, str]:
    """One table, with measured rows, in every format."""
    from benchmark.papers.printed_numbers import read_paper_results
    from benchmark.papers.render import format_csv, format_latex, format_markdown
    from benchmark.papers.tables import build_tables

    tables = build_tables(read_paper_results(), fixed_runs())
    (table,) = (table for table in tables if table.stem == "sgma_I")
    formats = {"csv": format_csv, "md": format_markdown, "tex": format_latex}
    return {f"{table.stem}.{suffix}": write(table) for suffix, write in formats.items()}


if __name__ == "__main__":
    for name, text in golden_texts().items():
        (Path(__file__).parents[1] / "benchmark" / "papers" / "golden" / name).write_text(text)
