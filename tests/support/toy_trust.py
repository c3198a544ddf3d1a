"""Counts under damage and of confidences for toy records, with scores that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.metrics.confusion import scored_pixels
from benchmark.metrics.reliability import BINS, UNIT, ReliabilityCounts
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.subsets import CLEAN, damage_case
from benchmark.records.damage import Damage, write_damage
from benchmark.records.record import Record
from tests.support.toy_records import LABELS


def scored(cases: Mapping[str, float]) -> EvaluationResult:
    """Counts whose mIoU is the number given, in per cent with two digits, for every case."""
    counts = np.zeros((len(cases), 1, 2, len(LABELS), 3), np.int64)
    for number, score in enumerate(cases.values()):
        for label in range(3):
            # 2 s hits of 2 s + 2 (100 - s) pixels that are of the class or taken for it
            counts[number, 0, 0, label, label] = round(200 * score)
            counts[number, 0, 0, label, (label + 1) % 3] = round(100 * (100 - score))
    return EvaluationResult(
        subsets=tuple(cases),
        scenes=("a",),
        conditions={},
        regions=("interior", "band"),
        labels=LABELS,
        counts=[counts],
        scored=np.ones((len(cases), 1), bool),
    )


def toy_reliability(record: Record) -> ReliabilityCounts:
    """Wrong pixels in two bins, right ones in one; the full set changes nothing."""
    pixels, hits = scored_pixels(record.matrices(), record.convention)
    wrong = pixels - hits
    by_bin, hits_by_bin = np.zeros((2, len(pixels), BINS), np.int64)
    hits_by_bin[:, 12] = hits
    by_bin[:, 12], by_bin[:, 14] = hits + wrong // 2, wrong - wrong // 2
    confidence = by_bin * np.floor((np.arange(BINS) + 0.5) / BINS / UNIT).astype(np.int64)
    changed = np.stack([wrong // 5, wrong // 3], 1)
    changed[-1] = 0
    brier = np.floor(0.7 * wrong / UNIT).astype(np.int64)
    return ReliabilityCounts(record.subsets, by_bin, hits_by_bin, confidence, brier, changed)


def toy_damage(
    record: Record, name: str, severities: Sequence[str], sets: Sequence[str], **about: str
) -> None:
    """Score a record 80 when clean; each severity costs 10, each sensor besides the first 2.5."""
    cases = {CLEAN: 80.0 + record.manifest.seed}
    for number, severity in enumerate(severities, start=1):
        for letters in sets:
            drop = 10 * number + 2.5 * letters.count("+")
            cases[damage_case(severity, letters)] = cases[CLEAN] - drop
    given = {"group": "toy", "combinations": "all", **about}
    damage = Damage(name=name, version=1, digest="0", seed=0, severities=tuple(severities), **given)
    write_damage(record.path, damage, scored(cases))
