"""What of a scene is scored, and by which convention."""

import lightning as L

from benchmark.evaluation.row_buffer import Place
from benchmark.metrics.confusion import Absent, Convention
from datamodules.base import SceneDataModule
from datamodules.loading.datasets import EvaluationWindows
from datamodules.store.scene_store import BAND, INTERIOR


def clip_to_scene(window: Place, height: int, width: int) -> Place:
    """Cut a window to the part that lies inside a scene.

    Example:
        >>> clip_to_scene((0, 256, 512, 512), height=400, width=600)
        (0, 256, 400, 344)
    """
    row, col, rows, cols = window
    return row, col, min(rows, height - row), min(cols, width - col)


def datamodule_of(trainer: L.Trainer) -> SceneDataModule:
    """Return the trainer's datamodule."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, SceneDataModule)
    return data


def counted_regions(windows: EvaluationWindows) -> tuple[str, ...]:
    """Name the regions that are counted apart."""
    return (INTERIOR, BAND) if windows.eroded else (INTERIOR,)


def convention_of(data: SceneDataModule, absent: Absent) -> Convention:
    """Describe the classes as a metric convention: means over all but clutter."""
    clutter = tuple(entry.id for entry in data.store.classes if entry.clutter)
    return Convention(
        outputs=tuple(data.outputs),
        averaged=tuple(entry.id for entry in data.store.classes if not entry.clutter),
        ignored=clutter if data.clutter == "ignore" else (),
        absent=absent,
        # eroded labels leave the band along class borders out
        regions=(INTERIOR,) if data.score_label == "label_eroded" else None,
    )
