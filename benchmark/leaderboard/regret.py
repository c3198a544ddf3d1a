"""What a network trained for exactly the sensors at hand reaches, and what others lose to it.

The specialist of R+D is `control` trained and scored with R and D alone. With 70 for it and 64 and
66 for two seeds of a method that takes any subset, the regret of that method is 6 and 4, so
5.00 +- 1.41. Negative regret: to have seen the other sensors in training has helped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import write_table_files
from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.confusion import Floats
from benchmark.metrics.summaries import format_mean_std, mean_std
from benchmark.records.groups import seed_groups
from benchmark.records.manifest import Manifest
from benchmark.records.overrides import describe_overrides
from benchmark.records.record import Record
from benchmark.records.selection import SPECIALIST

NOTE = (
    "mIoU in per cent. Specialist: the network of control, trained and scored with these sensors "
    "alone, mean +- std over its seeds. Regret: what a method scores less than the mean of the "
    "specialist on each subset, mean +- std over n seeds; negative where it is ahead; first the "
    "mean over all subsets that have a specialist, trained under the same protocol and as long."
)


def training_terms(manifest: Manifest) -> tuple[str, str]:
    """Return the protocol, and the scale with what was typed about the length of training.

    Only networks that were trained as long stand beside each other.
    """
    typed = describe_overrides(manifest.overrides).split()
    words = [manifest.scale, *(word for word in typed if word.startswith("trainer."))]
    return manifest.protocol.name, " ".join(words)


def specialist_rows(records: Sequence[Record]) -> dict[tuple[str, str, str], ScoreRow]:
    """Score specialists by the terms of their training and by subset."""
    rows = {}
    for group in seed_groups(records):
        key = (*training_terms(group.manifest), group.first.subsets[-1])
        rows[key] = ScoreRow.of_group(group)
    return rows


def specialist_scores(row: ScoreRow, rows: dict[tuple[str, str, str], ScoreRow]) -> Floats:
    """List the mean score of the specialist of each subset of a row, nan without one."""
    terms, scores = training_terms(row.group.manifest), []
    for subset in row.subsets:
        found = rows.get((*terms, subset))
        scores.append(found.miou[:, -1].mean() if found else np.nan)
    return np.array(scores)


def regret_frame(rows: Sequence[ScoreRow], best: Sequence[Floats]) -> pd.DataFrame:
    """List specialist, score and regret of every method and subset."""
    lines = []
    for row, scores in zip(rows, best, strict=True):
        for number, subset in enumerate(row.subsets):
            regret = mean_std(scores[number] - row.miou[:, number])
            line: dict[str, Any] = {**row.group.columns(), "subset": subset}
            line |= {"specialist": scores[number], "mIoU": row.miou[:, number].mean()}
            lines.append(line | {"regret": regret.mean, "regret std": regret.std})
    return pd.DataFrame(lines)


def regret_table(rows: Sequence[ScoreRow], best: Sequence[Floats]) -> pd.DataFrame:
    """Show the regret of every method, the least first."""
    lines = []
    for row, scores in zip(rows, best, strict=True):
        regrets = scores - row.miou
        known = ~np.isnan(scores)
        mean = regrets[:, known].mean(1)
        line = {"method": row.group.label, "protocol": row.protocol.label}
        line["regret"] = format_mean_std(*mean_std(mean))
        for number, subset in enumerate(row.subsets):
            line[subset] = format_mean_std(*mean_std(regrets[:, number]))
        # nan compares with nothing: without a score of every such subset a row comes last
        order = float(np.nan_to_num(mean.mean(), nan=np.inf))
        lines.append((order, line | {"n": str(len(mean))}))
    return pd.DataFrame([line for _, line in sorted(lines, key=lambda pair: pair[0])]).fillna("-")


def write_regret(
    data: str, scored: Sequence[ScoreRow], specialists: Sequence[Record], out: Path
) -> list[Path]:
    """Write `<data>.regret.csv`, `.md`, `.tex` where specialists were trained.

    `scored` are the rows of the leaderboard.
    """
    by_subset = specialist_rows(specialists)
    rows, best = [], []
    for row in scored:
        # of all sensors the network of control itself is the specialist
        terms = training_terms(row.group.manifest)
        plain = f"{row.group.manifest.scale} {row.group.overrides}".strip() == terms[-1]
        if row.group.method == SPECIALIST and plain:
            by_subset.setdefault((*terms, row.subsets[-1]), row)
    for row in scored:
        scores = specialist_scores(row, by_subset)
        if (~np.isnan(scores[:-1])).any():
            rows.append(row)
            best.append(scores)
    if not rows:
        return []
    shown, order = [], rows[0].subsets
    by_place = sorted(by_subset.items(), key=lambda item: (*item[0][:2], order.index(item[0][2])))
    for (protocol, scale, subset), row in by_place:
        line = {"protocol": protocol, "scale": scale, "sensors": subset}
        line["mIoU"] = format_mean_std(*mean_std(row.miou[:, -1]))
        shown.append(line | {"n": str(len(row.miou))})
    table = regret_table(rows, best)
    page: list[Part] = ["## Regret", table, "## Specialists", pd.DataFrame(shown)]
    frames = {"csv": regret_frame(rows, best)}
    page.append(escape_markdown(NOTE))
    return write_table_files(out, f"{data}.regret", frames, page, {"": table}, NOTE, [])
