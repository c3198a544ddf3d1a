"""What of a scene is scored, and by which convention."""

from __future__ import annotations

import lightning as L

from benchmark.evaluation.confusion_counter import Place
from benchmark.metrics.confusion import Absent, Convention
from datamodules.base import SceneDataModule
from datamodules.loading.datasets import EvaluationWindows
from datamodules.store.scene_store import BAND, INTERIOR


def inside(window: tuple[int, int, int, int], height: int, width: int) -> Place:
    """The part of a window that lies inside a height x width scene."""
    row, col, rows, cols = window
    return row, col, min(rows, height - row), min(cols, width - col)


def datamodule_of(trainer: L.Trainer) -> SceneDataModule:
    """The trainer's SceneDataModule."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, SceneDataModule)
    return data


def regions_of(windows: EvaluationWindows) -> tuple[str, ...]:
    """Regions that are counted apart."""
    return (INTERIOR, BAND) if windows.eroded else (INTERIOR,)


def convention_of(data: SceneDataModule, absent: Absent) -> Convention:
    """The datamodule's classes as a metric convention (means over all classes but clutter)."""
    clutter = tuple(entry.id for entry in data.store.classes if entry.clutter)
    return Convention(
        outputs=tuple(data.outputs),
        averaged=tuple(entry.id for entry in data.store.classes if not entry.clutter),
        ignored=clutter if data.clutter == "ignore" else (),
        absent=absent,
        # eroded labels leave the band along class borders out
        regions=(INTERIOR,) if data.score_label == "label_eroded" else None,
    )
