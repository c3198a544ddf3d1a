"""What the papers print about cost, beside what `profile --all` counted on the built modules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.choices import PUBLISHED_COSTS
from benchmark.formats.files import read_csv_rows
from benchmark.metrics.summaries import MeanStd
from benchmark.papers.measured import Measured
from benchmark.papers.printed_numbers import PrintedNumber

COSTS_FILE = "papers.csv"
NOTES = {
    ("sgma", "IX"): (
        "Measured: parameters that the logits are made from and multiply-accumulates of the full "
        "set of Potsdam's three sensors, K = 5, 512 px, PVT-v2-b2, as evaluation computes them: "
        "kernels folded (head, depthwise), weighted sums over sensors elementwise and not counted. "
        "As the equations read, SGMA's fusion has 9.49 G. In its own row the paper's count agrees "
        "with the fusion without encoder and head; what it counts in the other rows is not known, "
        "and no part counted here gives the printed pairs."
    ),
    ("mobanet", "III"): (
        "Measured: trained parameters of the built network for RGB and heights (for RGB where the "
        "network has one input), K = 6, auxiliary heads included. As released: with what the "
        "released modules train though nothing calls it (classifiers of CMGFNet's encoders, "
        "prompt encoder and mask decoder of MANet's). So the table counts trained parameters in "
        "every row. Latency, FPS and memory were not measured on a GPU."
    ),
    ("mobanet", "IV"): (
        "Measured: trained parameters of the built network for RGB and heights, K = 6."
    ),
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


def read_published_costs(directory: Path = PUBLISHED_COSTS) -> list[PublishedCost]:
    """Read the lines of `papers.csv`; none where it has not been written."""
    path = directory / COSTS_FILE
    if not path.exists():
        return []
    rows = read_csv_rows(path, PublishedCost.__dataclass_fields__)
    return [PublishedCost(**row) for row in rows]


def measured_costs(
    row: Mapping[str, PrintedNumber], costs: Iterable[PublishedCost]
) -> list[Measured]:
    """Find what was counted of a row, by column, in 1e6 parameters and 1e9 multiply-accumulates."""
    found = []
    for cost in costs:
        # a count has no seeds, and so no deviation
        measured = Measured(cost.counted)
        place = (cost.source, cost.table, cost.method, cost.variant)
        for column, number in row.items():
            if (number.source, number.table, number.method, number.variant) != place:
                continue
            if number.metric == "params_M":
                measured.values[column] = MeanStd(int(cost.parameters) / 1e6, float("nan"))
            elif number.metric == "FLOPs_G" and cost.GMAC:
                measured.values[column] = MeanStd(float(cost.GMAC), float("nan"))
        if measured.values:
            found.append(measured)
    return found
