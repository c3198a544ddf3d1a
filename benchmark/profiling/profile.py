"""What methods cost, counted and timed: rows of the tables in results/complexity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark import choices
from benchmark.experiment.lightning_cli import resolve_config
from benchmark.experiment.models import instantiate_model
from benchmark.experiment.request import Request
from benchmark.formats.files import csv_text, write_texts
from benchmark.formats.latex import latex_table
from benchmark.formats.markdown import markdown_table
from benchmark.metrics.subsets import modality_subsets, subset_name
from benchmark.profiling.dataset_spec import InputSpec, input_spec
from benchmark.records.groups import CONTROL_MARK

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

COUNTED = (
    "Counted on the built modules, batch 1. Parameters in millions: all, frozen weights included; "
    "trained; those that the logits of any subset are made from. GMAC: 1e9 multiply-accumulates of "
    "matrix products, convolutions and attention, half the FLOPs, per subset of sensors and for "
    "all subsets with each sensor encoded once; folded weights and the features of a blank sensor "
    "are kept between windows. A dash: the network sees no sensor of that subset, and nothing runs."
)
TIMED = (
    "Batch 1, random weights, float32, inference mode; milliseconds are the least of {rounds} runs "
    "after a warm-up; windows per second: full sets; memory: peak of the GPU's allocator for the "
    "full set, weights included."
)
MILLIONS = {"parameters": "M", "trainable": "M trained", "inference": "M used"}
HEADINGS = {**MILLIONS, "outputs": "K", "side": "px"}


@dataclass(frozen=True)
class ProfiledMethod:
    """A method as configured for a dataset, see `profile_method`."""

    method: str
    section: Mapping[str, Any]  # `model` of its configuration
    inputs: InputSpec
    backbone: str
    control: bool  # tables mark it as a control
    config: Mapping[str, Any] = field(default_factory=dict)  # all of it

    def build(self) -> AnyModalitySegmenter:
        """Build the module in eval mode, on torch's current default device."""
        channels, outputs = self.inputs.channels, self.inputs.num_classes
        return instantiate_model(self.section, channels, outputs).eval()

    def cost_row(self) -> dict[str, Any]:
        """Count parameters and GMAC without a value being computed."""
        import torch

        from benchmark.profiling.cost import count_cost

        # shapes alone decide what is counted, so no memory is spent on values
        with torch.device("meta"):
            cost = count_cost(self.build(), self.inputs.side)
        row = self.names() | {"parameters": cost.total, "trainable": cost.trainable}
        row["inference"] = cost.inference
        for subset in modality_subsets(list(self.inputs.channels)):
            name = subset_name(subset, self.inputs.letters)
            row[f"GMAC {name}"] = cost.subset_gmac(subset) if subset in cost.decode else math.nan
        return row | {"GMAC all": cost.all_subsets_gmac}

    def timing_row(self, device: str, rounds: int) -> dict[str, Any]:
        """Time the module on a device; the row says what it was taken on."""
        from benchmark.computation.compilation import compile_where_possible
        from benchmark.profiling.cost import measure_time, resolve_device

        model, wanted = self.build(), self.config["cell"]["compile"]
        compiled = compile_where_possible(wanted, model, resolve_device(device))
        timing = measure_time(model, self.inputs.side, device, rounds)
        return self.names() | {
            "latency ms": timing.full_ms,
            "all subsets ms": timing.every_ms,
            "windows/s": 1000 / timing.full_ms,
            "memory MiB": timing.memory,
            "compiled": compiled,
            "device": timing.device,
            "threads": timing.threads,
            "torch": timing.torch,
        }

    def names(self) -> dict[str, Any]:
        """Name the method and what it is built for, the first columns of every table."""
        return {
            "method": self.method + (CONTROL_MARK if self.control else ""),
            "backbone": self.backbone,
            "outputs": self.inputs.num_classes,
            "side": self.inputs.side,
        }


def profile_method(request: Request, side: int = 0) -> ProfiledMethod:
    """Configure a method as a run of the request would; the data need not be there.

    `side` is that of the square window in pixels; 0 is the dataset's.
    """
    request = request.named()
    if side:
        words = ("--data.init_args.window", str(side))
        request = replace(request, overrides=(*request.overrides, *words))
    parsed = resolve_config(request)
    section, data_section = parsed["model"], parsed["data"]["init_args"]
    inputs = input_spec(data_section["name"], data_section, request.store)
    backbone = str(section["init_args"].get("backbone", choices.NO_BACKBONE))
    names = (request.variant, section, inputs, backbone)
    return ProfiledMethod(*names, parsed["cell"]["control"], parsed)


def write_table(directory: Path, stem: str, rows: list[dict[str, Any]], note: str) -> None:
    """Print a table and write it as `<stem>.csv`, `.md` and `.tex` below `directory`."""
    table = pd.DataFrame(rows)
    display = format_table(table)
    text = f"{markdown_table(display)}\n\n{note}\n"
    name = Path(stem).name
    contents = {f"{name}.csv": csv_text(table, 6), f"{name}.md": text}
    contents[f"{name}.tex"] = latex_table(display, [note])
    print(text)
    for path in write_texts((directory / stem).parent, contents):
        print(path)


def format_table(table: pd.DataFrame) -> pd.DataFrame:
    """Turn costs into text: parameters in millions, one digit elsewhere, a dash for unknown.

    Example:
        >>> row = {"method": "sgma", "parameters": 30_170_329, "GMAC all": 61.25}
        >>> format_table(pd.DataFrame([row])).iloc[0].to_dict()
        {'method': 'sgma', 'M': '30.17', 'GMAC all': '61.2'}
    """

    def format_value(column: str, value: Any) -> str:
        if pd.isna(value):
            return "-"
        if column in MILLIONS:
            return f"{value / 1e6:.2f}"
        return f"{value:.1f}" if isinstance(value, float) else str(value)

    display = {}
    for name in table:
        values = [format_value(str(name), value) for value in table[name]]
        display[HEADINGS.get(str(name), str(name))] = values
    return pd.DataFrame(display)
