"""Published protocols: what a run under each does, beside what its paper says.

What papers say stands in `results/reported/protocols.csv`, one line per protocol, dataset and
method; `-` where paper and code say nothing. Parameters are in millions, as printed.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.choices import PUBLISHED
from benchmark.experiment.request import Request
from benchmark.formats.files import csv_text, read_csv_rows, write_texts
from benchmark.formats.markdown import markdown_table
from benchmark.profiling.paper_costs import trainable_parameters
from benchmark.profiling.profile import profile_method
from datamodules.loading.windows import covering_windows
from datamodules.splits.tables import read_split_table

PAPERS = PUBLISHED / "reported" / "protocols.csv"
STEM = "protocols"
KEY = ("protocol", "data", "method")
FACTS = ("sensors", "trained", "window", "batch", "epochs", "steps", "train", "test")
# side of a scene where an epoch is as many windows as cover the training scenes
SIDES = {"potsdam": 6000, "dfc2023": 512, "deliver": 1042}
# columns of `splits/<data>.csv` that the import adds under another name
SAME_SPLIT = {("dfc2023", "split_sgma"): "split_random"}
DELIVER_PARTS = {"train": "train", "val": "test"}  # of its frames, under split_sgma
NOTE = (
    "Each cell: a run of this suite / what the paper or its code says, a dash where they say "
    "nothing. Trained parameters in millions, window in pixels, train and test in scenes. MoBaNet: "
    "Table IV, section 3 of its dossier. GEMMNet: its released code, whose earlier version gives "
    "the batch; its 600 parameters more are scale heads on other maps than the paper's. SGMA: its "
    "section on experiments. What a protocol leaves is said in its file in configs/protocol."
)


def describe_run(request: Request) -> dict[str, str]:
    """Describe a run of the request by `FACTS`; neither data nor weights are needed."""
    profiled = profile_method(request)
    data, trainer = profiled.config["data"]["init_args"], profiled.config["trainer"]
    scenes = count_scenes(request.data, data["split"])
    if not (windows := data.get("epoch_windows")):
        side, window = SIDES[request.data], data["window"]
        windows = scenes["train"] * len(covering_windows(side, side, window, window))
    steps = trainer["max_epochs"] * ceil(windows / data["batch_size"])
    if trainer["max_steps"] > 0:
        steps = trainer["max_steps"]
    found: dict[str, Any] = {
        "sensors": "+".join(profiled.inputs.letters.values()),
        "trained": f"{trainable_parameters(profiled) / 1e6:.2f}",
        "window": profiled.inputs.side,
        "batch": data["batch_size"],
        "epochs": trainer["max_epochs"],
        "steps": steps,
        "train": scenes["train"],
        "test": scenes["test"],
    }
    return {name: str(found[name]) for name in FACTS}


def count_scenes(data: str, split: str) -> Counter[str]:
    """Count the scenes of every part of a split of a named dataset.

    Example:
        >>> count_scenes("dfc2023", "split_sgma")["test"], count_scenes("deliver", "")["train"]
        (354, 3983)
    """
    parts: Counter[str] = Counter()
    if data == "deliver":
        # its frames are too many for a list: the table holds their counts
        for name, row in read_split_table("deliver_counts").items():
            parts[DELIVER_PARTS.get(name, "unused")] += int(row["total"])
        return parts
    column = SAME_SPLIT.get((data, split), split)
    parts.update(row[column] for row in read_split_table(data).values())
    return parts


def protocol_rows() -> list[tuple[dict[str, str], dict[str, str]]]:
    """List what each paper says, and what a run under its protocol does; seconds."""
    rows = []
    for said in read_csv_rows(PAPERS, (*KEY, *FACTS)):
        request = Request(said["method"], said["data"], said["protocol"])
        rows.append((said, describe_run(request)))
    return rows


def write_protocols(directory: Path) -> list[Path]:
    """Write the table as CSV, with a column for each side, and as Markdown."""
    numbers, cells = [], []
    for said, found in protocol_rows():
        names = {key: said[key] for key in KEY}
        printed = {f"{fact} printed": said[fact] for fact in FACTS}
        numbers.append(names | found | printed)
        cells.append(names | {fact: f"{found[fact]} / {said[fact]}" for fact in FACTS})
    text = f"{markdown_table(pd.DataFrame(cells))}\n\n{NOTE}\n"
    contents = {f"{STEM}.csv": csv_text(pd.DataFrame(numbers)), f"{STEM}.md": text}
    return write_texts(directory, contents)
