"""Run records out of a random generator, with known parts, for the table commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.metrics.confusion import Convention, Counts, Scores, score_matrices
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.subsets import modality_subsets
from benchmark.records.manifest import Manifest, Protocol
from benchmark.records.record import Record, read_record, write_record

LABELS = ("ground", "building", "tree", "clutter")
CONVENTION = Convention(outputs=(0, 1, 2), averaged=(0, 1, 2), ignored=(3,))
PROTOCOL = Protocol(
    name="standard",
    selection="best",
    selected="best",
    split="s",
    split_note="",
    train_label="label",
    score_label="label",
    clutter="ignore",
    rasters={},
    window=128,
    stride=64,
    stitching="logits",
    absent="exclude",
)


def score(matrix: Counts, convention: Convention) -> Scores:
    """Score one labels x outputs matrix."""
    return score_matrices(np.asarray(matrix)[None], convention)[0]


def toy_result(
    skill: float = 0.6,
    seed: int = 0,
    modalities: Sequence[str] = ("R", "D", "N"),
    scenes: int = 12,
    blocks: int = 4,
    outputs: int = 3,
    regions: Sequence[str] = ("interior", "band"),
) -> EvaluationResult:
    """Counts of a network that hits `skill` of the pixels, more with more modalities; one truth."""
    subsets = ["+".join(subset) for subset in modality_subsets(modalities)]
    truth = np.random.default_rng(99).integers(
        50, 2000, (scenes, blocks, len(regions), len(LABELS))
    )
    rng = np.random.default_rng(seed)
    counts = []
    for scene in range(scenes):
        own = np.zeros((len(subsets), blocks, len(regions), len(LABELS), outputs), np.int64)
        for number, subset in enumerate(subsets):
            share = skill * (1 - 0.5 ** len(subset.split("+"))) + rng.normal(0, 0.03)
            for label in range(len(LABELS)):
                hit = min(max(share, 0), 0.95) if label < outputs else 0
                chances = np.full(outputs, (1 - hit) / (outputs - (label < outputs)))
                if label < outputs:
                    chances[label] = hit
                own[number, :, :, label] = rng.multinomial(truth[scene, :, :, label], chances)
        counts.append(own)
    return EvaluationResult(
        subsets=tuple(subsets),
        scenes=tuple(f"scene{number}" for number in range(scenes)),
        conditions={},
        regions=tuple(regions),
        labels=LABELS,
        counts=counts,
        scored=np.ones((len(subsets), scenes), bool),
    )


def seen_by(result: EvaluationResult, sensors: str) -> EvaluationResult:
    """Take away what a network that sees these sensors (`RD`) alone is not scored under."""
    seen = np.array([bool(set(name.split("+")) & set(sensors)) for name in result.subsets])
    counts = [np.where(seen[:, None, None, None, None], scene, 0) for scene in result.counts]
    return replace(result, counts=counts, scored=result.scored & seen[:, None])


def toy_manifest(variant: str, seed: int = 0, **changes: Any) -> Manifest:
    """What tables need of a manifest."""
    fields: dict[str, Any] = {
        "created": f"2026-01-01T00:00:{seed:02d}+00:00",
        "identity": f"{variant}-{seed}",
        "group": f"{variant}-group",
        "method": variant,
        "variant": variant,
        "control": False,
        "data": "toy",
        "backbone": "pvt_v2_b0",
        "seed": seed,
        "overrides": (),
        "protocol": PROTOCOL,
        "convention": CONVENTION,
        "modalities": {"rgb": "R", "dsm": "D", "nir": "N"},
        "classes": LABELS,
        "fingerprint": "f" * 64,
        "incomplete": False,
        "checkpoint": "checkpoints/best.ckpt",
        "steps": 300,
        "device": "x86_64 CPU",
        "threads": 1,
        "world_size": 1,
    }
    fields |= {key: {} for key in ("durations", "git", "packages", "model", "config")}
    return Manifest(**{**fields, **changes})


def toy_record(
    root: Path, variant: str, seed: int = 0, result: EvaluationResult | None = None, **changes: Any
) -> Record:
    """Write and read back one record at `root/<variant>/<seed>/record`."""
    path = root / variant / str(seed) / "record"
    write_record(
        path,
        toy_manifest(variant, seed, **changes),
        result or toy_result(seed=hash_of(variant) + seed),
    )
    return read_record(path)


def toy_folder(root: Path, methods: int, seeds: int, **sizes: Any) -> None:
    """A folder of runs: `methods` x `seeds` records, the later methods the better ones."""
    for number in range(methods):
        for seed in range(seeds):
            skill = 0.5 + 0.4 * number / methods
            toy_record(
                root, f"method{number:02d}", seed, toy_result(skill, 100 * number + seed, **sizes)
            )


def hash_of(name: str) -> int:
    """A number that is the same in every process."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 10**6
