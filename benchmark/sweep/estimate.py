"""How long experiments take, from the records of others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmark.choices import PUBLISHED
from benchmark.records.manifest import MANIFEST, Manifest, read_manifest
from benchmark.sweep.plan import Cell
from usererror import UserError

PROBES = "probes.json"


@dataclass(frozen=True)
class Durations:
    """Seconds of finished experiments, by what they have in common."""

    seconds: Mapping[tuple[str, ...], list[float]]
    probed: Mapping[str, float] = field(default_factory=dict)  # by group

    @classmethod
    def at_hand(cls, cells: Iterable[Cell], folder: Path) -> Durations:
        """Gather what the user's records and the published ones say of the data of cells."""
        files: set[Path] = set()
        for runs, data in {(cell.request.runs, cell.request.dataset) for cell in cells}:
            files.update((runs / data).glob(f"*/*/record/{MANIFEST}"))
            files.update((PUBLISHED / "records" / data).glob(f"*/{MANIFEST}"))
        manifests = []
        for file in sorted(files):
            # a damaged one tells nothing
            with suppress(UserError):
                manifests.append(read_manifest(file.parent))
        return cls.of(manifests, folder)

    @classmethod
    def of(cls, manifests: Iterable[Manifest], folder: Path) -> Durations:
        """Gather what manifests say, and what was probed for the sweep in a folder."""
        found: dict[tuple[str, ...], list[float]] = {}
        for entry in manifests:
            total = sum(entry.durations.values())
            row = (entry.variant, entry.data, entry.backbone, entry.protocol.name)
            words = " ".join(entry.overrides)
            for names in ((*row, words), row[:3]):
                found.setdefault(names, []).append(total)
        try:
            return cls(found, json.loads((folder / PROBES).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return cls(found)

    def of_cell(self, cell: Cell) -> float | None:
        """Estimate the seconds of an experiment; None where nothing like it was ever run."""
        request = cell.request
        row = (request.variant, request.dataset, cell.backbone, request.protocol)
        exact = (*row, " ".join(request.overrides))
        # with settings of its own nothing is known from experiments without them
        for names in (exact, *([] if request.overrides else [row[:3]])):
            if names in self.seconds:
                return median(self.seconds[names])
        return self.probed.get(cell.group)


def in_words(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> in_words(95), in_words(4000), in_words(200000)
        ('2 min', '1.1 h', '56 h')
    """
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36000 else f"{seconds / 3600:.0f} h"
