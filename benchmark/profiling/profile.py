"""`imss profile`: what methods cost, counted and timed, in results/complexity as CSV, Markdown and LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark import choices
from benchmark.experiment.models import instantiate_model, resolve_config
from benchmark.experiment.request import Request
from benchmark.formats.files import csv_text, write_texts
from benchmark.formats.latex import latex_table
from benchmark.formats.markdown import markdown_table
from benchmark.metrics.subsets import subset_name
from benchmark.profiling.dataset_spec import InputSpec, input_spec
from benchmark.records.groups import CONTROL_MARK
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.profiling.cost import Cost, Timing
    from methods.base import AnyModalitySegmenter

COUNTED = (
    "Counted on the built modules, batch 1. Parameters in millions: all, frozen weights included; trained; those that "
    "the logits of any subset are made from. GMAC: 1e9 multiply-accumulates of matrix products, convolutions and "
    "attention, half the FLOPs, per subset of sensors and for all subsets with each sensor encoded once; folded "
    "weights and the features of a blank sensor are kept between windows."
)
TIMED = (
    "Batch 1, random weights, float32, inference mode; milliseconds are the least of {rounds} runs after a warm-up; "
    "windows per second: full sets; memory: peak of the GPU's allocator for the full set, weights included."
)


@dataclass(frozen=True)
class Setting:
    """A method as configured for a dataset, and what it is given."""

    method: str
    section: dict[str, Any]
    given: InputSpec
    backbone: str
    control: bool

    def build(self) -> AnyModalitySegmenter:
        """The module in eval mode, on torch's current default device."""
        return instantiate_model(self.section, self.given.channels, self.given.num_classes).eval()

    @property
    def head(self) -> dict[str, Any]:
        """What names a row."""
        return {
            "method": self.method + (CONTROL_MARK if self.control else ""),
            "backbone": self.backbone,
            "outputs": self.given.num_classes,
            "side": self.given.side,
        }


def check_names(arguments: argparse.Namespace) -> None:
    """Raise a UserError for a name or number that does not exist, before anything heavy is imported."""
    choices.validate_choice("METHOD", arguments.method, choices.methods())
    choices.validate_choice(
        "DATA", arguments.data, choices.datasets(Path(arguments.store).expanduser())
    )
    choices.validate_choice("PROTOCOL", arguments.protocol, choices.protocols())
    if arguments.backbone:
        choices.validate_choice("BACKBONE", arguments.backbone, list(choices.BACKBONES))
    if arguments.side and not (arguments.side.isdigit() and int(arguments.side) >= 32):
        raise UserError(
            f"SIDE {arguments.side!r} is no side of a window: give whole pixels, 32 or more."
        )
    if arguments.rounds < 1:
        raise UserError(f"--rounds {arguments.rounds}: at least one run must count.")


def setting(method: str, arguments: argparse.Namespace, overrides: Sequence[str] = ()) -> Setting:
    """The setting of a method under the names of the command line."""
    words = (*overrides, *(("--data.init_args.window", arguments.side) if arguments.side else ()))
    request = Request(method, arguments.data, arguments.protocol, backbone=arguments.backbone)
    parsed = resolve_config(replace(request, overrides=tuple(words)))
    section = parsed["model"]
    given = input_spec(arguments.data, parsed["data"]["init_args"], Path(arguments.store))
    backbone = str(section["init_args"].get("backbone", choices.NO_BACKBONE))
    return Setting(method, section, given, backbone, parsed["cell"]["control"])


def counted(chosen: Setting) -> Cost:
    """Count a setting without a value being computed."""
    import torch

    from benchmark.profiling.cost import count_cost

    with torch.device("meta"):
        return count_cost(chosen.build(), chosen.given.side)


def row(chosen: Setting, cost: Cost) -> dict[str, Any]:
    """A row of counts: parameters whole, GMAC in 1e9."""
    letters = chosen.given.letters
    return {
        **chosen.head,
        "parameters": cost.total,
        "trainable": cost.trainable,
        "inference": cost.inference,
        **{f"GMAC {subset_name(subset, letters)}": cost.of(subset) for subset in cost.decode},
        "GMAC all": cost.every,
    }


def timing_row(chosen: Setting, timing: Timing) -> dict[str, Any]:
    """A row of timings with what they were taken on."""
    return {
        **chosen.head,
        "latency ms": timing.full_ms,
        "all subsets ms": timing.every_ms,
        "windows/s": 1000 / timing.full_ms,
        "memory MiB": timing.memory,
        "device": timing.device,
        "threads": timing.threads,
        "torch": timing.torch,
    }


def report(directory: Path, stem: str, table: pd.DataFrame, note: str) -> None:
    """Print a table and write it as `<stem>.csv`, `.md` and `.tex` below `directory`."""
    display = shown(table)
    text = f"{markdown_table(display)}\n\n{note}\n"
    target = (directory / stem).parent
    name = Path(stem).name
    contents = {
        f"{name}.csv": csv_text(table, 6),
        f"{name}.md": text,
        f"{name}.tex": latex_table(display, [note]),
    }
    print(text)
    for path in write_texts(target, contents):
        print(path)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """For readers: parameters in millions, GMAC and milliseconds with one digit or two, a dash for what is unknown."""
    units = {
        "parameters": "M",
        "trainable": "M trained",
        "inference": "M used",
        "outputs": "K",
        "side": "px",
    }

    def text(column: str, value: Any) -> str:
        if pd.isna(value):
            return "-"
        if column in ("parameters", "trainable", "inference"):
            return f"{value / 1e6:.2f}"
        return f"{value:.1f}" if isinstance(value, float) else str(value)

    columns = {
        units.get(name, name): [text(name, value) for value in table[name]]
        for name in map(str, table)
    }
    return pd.DataFrame(columns)
