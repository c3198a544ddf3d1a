"""Masks as COCO records: run lengths, their codes, and outlines."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from scipy import ndimage

from datamodules.miniature.coco_export import (
    drop_straight_points,
    mask_records,
    pack_run_lengths,
    run_lengths,
    trace_border,
)

# ---- Records ----


def decoded(counts: str | list[int], size: list[int]) -> np.ndarray:
    """The decoder of dossier 12.3, by which the generator's codes are to be readable."""
    if isinstance(counts, str):
        c: list[int] = []
        p = 0
        while p < len(counts):
            x = k = 0
            more = True
            while more:
                v = ord(counts[p]) - 48
                x |= (v & 31) << (5 * k)
                more = bool(v & 32)
                p += 1
                k += 1
                if not more and v & 16:
                    x |= -1 << (5 * k)
            c.append(x + (c[-2] if len(c) > 2 else 0))
        counts = c
    return np.repeat(np.arange(len(counts)) & 1, counts).reshape(size[1], size[0]).T


def filled(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A record's mask by other means: hole filling of its outline, drawn pixel by pixel."""
    if isinstance(segmentation, dict):
        return decoded(segmentation["counts"], segmentation["size"]).astype(bool)
    mask = np.zeros(size, bool)
    for ring in segmentation:
        line, points = np.zeros(size, bool), list(zip(ring[::2], ring[1::2], strict=True))
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            steps = max(abs(bx - ax), abs(by - ay))
            assert (bx - ax) in (0, steps, -steps) and (by - ay) in (0, steps, -steps), (
                "straight or diagonal"
            )
            for k in range(steps + 1):
                line[ay + k * (by - ay) // max(steps, 1), ax + k * (bx - ax) // max(steps, 1)] = (
                    True
                )
        mask |= ndimage.binary_fill_holes(line)
    return mask


def test_records_of_random_masks() -> None:
    rng = np.random.default_rng(4)
    for number in range(60):
        size = tuple(int(n) for n in rng.integers(3, 40, 2))
        field = ndimage.gaussian_filter(rng.normal(0, 1, size), rng.uniform(0.3, 3))
        mask = field > np.quantile(field, rng.random())
        union = np.zeros(size, bool)
        for record in json.loads(json.dumps(mask_records(mask, rng))):
            alone = filled(record["segmentation"], size)
            rows, columns = (np.flatnonzero(alone.any(axis=axis)) for axis in (1, 0))
            assert alone.sum() == record["area"], number
            assert record["bbox"] == [
                columns[0],
                rows[0],
                columns[-1] - columns[0],
                rows[-1] - rows[0],
            ]
            union |= alone
        np.testing.assert_array_equal(union, mask)


def test_codes_read_back() -> None:
    for mask in (
        np.eye(5, 9, dtype=bool),
        np.ones((4, 4), bool),
        np.arange(400).reshape(20, 20) % 7 < 3,
    ):
        lengths = run_lengths(mask)
        np.testing.assert_array_equal(decoded(lengths, list(mask.shape)), mask)
        np.testing.assert_array_equal(decoded(pack_run_lengths(lengths), list(mask.shape)), mask)
    assert run_lengths(np.array([[True, False], [True, True]])) == [0, 2, 1, 1]


def test_tracing() -> None:
    assert trace_border(np.ones((1, 1), bool)) == [(0, 0)]
    assert drop_straight_points(trace_border(np.ones((3, 4), bool))) == [
        (0, 0),
        (0, 3),
        (2, 3),
        (2, 0),
    ]
    assert trace_border(np.ones((1, 3), bool)) == [(0, 0), (0, 1), (0, 2), (0, 1)]
