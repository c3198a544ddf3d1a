"""What the papers print about cost, read from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.choices import ROOT
from benchmark.papers.measured import Measured
from benchmark.papers.printed_numbers import PrintedNumber, read_csv_rows

if TYPE_CHECKING:
    pass


FILE = "papers.csv"


COMPLEXITY = ROOT / "results" / "complexity"


NOTES = {
    ("sgma", "IX"): (
        "Measured: parameters that the logits are made from and multiply-accumulates of the full set of Potsdam's "
        "three sensors, K = 5, 512 px, PVT-v2-b2, as evaluation computes them: kernels folded (head, depthwise), "
        "weighted sums over sensors elementwise and not counted. As the equations read, SGMA's fusion has 9.49 G. In "
        "its own row the paper's count agrees with the fusion without encoder and head; what it counts in the other "
        "rows is not known, and no part counted here gives the printed pairs."
    ),
    ("mobanet", "III"): (
        "Measured: trained parameters of the built network for RGB and heights, K = 6, auxiliary heads included; "
        "latency, FPS and memory were not measured on a GPU."
    ),
    (
        "mobanet",
        "IV",
    ): "Measured: trained parameters of the built network for RGB and heights, K = 6.",
}


@dataclass(frozen=True)
class PublishedCost:
    """One line beside a row of a paper; `GMAC` is empty where the table has no such column."""

    source: str
    table: str
    method: str
    variant: str
    counted: str
    parameters: str
    GMAC: str


def read_published(directory: Path = COMPLEXITY) -> list[PublishedCost]:
    """The lines of `papers.csv`; none where it has not been written.

    Raises:
        UserError: the file lacks a column or a row is cut short.
    """
    path, columns = directory / FILE, [field.name for field in fields(PublishedCost)]
    rows = read_csv_rows(path, columns) if path.exists() else []
    return [PublishedCost(*(row[name] for name in columns)) for row in rows]


def measured_costs(
    cells: Mapping[str, PrintedNumber], costs: Iterable[PublishedCost]
) -> list[Measured]:
    """What was counted of a row's cells, by column, in 1e6 parameters and 1e9 multiply-accumulates."""
    found = []
    for cost in costs:
        values = {}
        for column, cell in cells.items():
            own = (cell.source, cell.table, cell.method, cell.variant)
            text = {"params_M": cost.parameters, "FLOPs_G": cost.GMAC}.get(cell.metric, "")
            if text and own == (cost.source, cost.table, cost.method, cost.variant):
                values[column] = (
                    float(text) / (1e6 if cell.metric == "params_M" else 1),
                    float("nan"),
                )
        if values:
            found.append(Measured(cost.counted, values))
    return found
