"""Per-dataset datamodules: `SceneDataModule` with the dataset's own defaults.

`configs/data/<name>.yaml` names these classes, so each default stands in one place; every one can
be overridden there, by a protocol, or on the command line. Other arguments are those of
`SceneDataModule`, which reads any store: a dataset needs no class here.
"""

import warnings
from typing import Any

from datamodules.base import SceneDataModule

Rules = dict[str, str | dict[str, list[float]]]

POTSDAM = ["rgb", "dsm", "nir"]
VAIHINGEN = ["irrg", "dsm"]
DFC2023 = ["rgb", "dsm", "sar"]
GREY_DEPTH = "depth_grey"
DELIVER = ["rgb", "depth", "event", "lidar"]
# published statistics of the training tiles: nDSM in metres, SAR in decibels clipped to [-25, 0]
# (dataset dossier, 9)
DFC2023_RULES: Rules = {
    "dsm": {"mean": [5.016], "std": [7.613]},
    "sar": {"mean": [-7.945], "std": [2.777]},
}


class PotsdamDataModule(SceneDataModule):
    """ISPRS Potsdam with SGMA's modalities: RGB, absolute heights, near infrared; eroded labels."""

    def __init__(
        self,
        name: str = "potsdam",
        modalities: list[str] | None = POTSDAM,
        score_label: str = "label_eroded",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, modalities=modalities, score_label=score_label, **kwargs)


class VaihingenDataModule(SceneDataModule):
    """ISPRS Vaihingen: near infrared, red and green as one modality, heights; eroded labels."""

    def __init__(
        self,
        name: str = "vaihingen",
        modalities: list[str] | None = VAIHINGEN,
        score_label: str = "label_eroded",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, modalities=modalities, score_label=score_label, **kwargs)


class DFC2023DataModule(SceneDataModule):
    """DFC2023 track 2: RGB, height above ground and radar, with published statistics."""

    def __init__(
        self,
        name: str = "dfc2023",
        modalities: list[str] | None = DFC2023,
        normalization: Rules | None = DFC2023_RULES,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, modalities=modalities, normalization=normalization, **kwargs)


class DeliverDataModule(SceneDataModule):
    """DELIVER: RGB, depth, events and LiDAR of a street, frame by frame.

    Depth is HHA; a copy without it gives grey depth, which warns and is written into the record
    (`rasters`).
    """

    # a frame of 1042 px is one window: 1056 is the next multiple of 32, and what lies beyond the
    # frame has no label
    def __init__(
        self,
        name: str = "deliver",
        modalities: list[str] | None = DELIVER,
        window: int = 1056,
        eval_batch_size: int | None = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name=name,
            modalities=modalities,
            window=window,
            eval_batch_size=eval_batch_size,
            **kwargs,
        )

    def _resolve_rasters(
        self, modalities: list[str] | None, rasters: dict[str, str]
    ) -> dict[str, str]:
        known = {*self.store.modalities, *rasters}
        if "depth" not in known and GREY_DEPTH in self.store.modalities:
            warnings.warn(
                f"{self.name} has no HHA pictures: depth is the grey one ({GREY_DEPTH}).",
                stacklevel=2,
            )
            rasters = {**rasters, "depth": GREY_DEPTH}
        return super()._resolve_rasters(modalities, rasters)
