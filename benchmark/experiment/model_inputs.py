"""What a network takes and gives, kept beside a run so that it can read rasters of no dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from datamodules.store.scene_store import SceneClass

if TYPE_CHECKING:
    from benchmark.evaluation.subset_confusion import Stitching
    from datamodules.base import SceneDataModule
    from datamodules.loading.inference_rasters import ModalitySpec

INPUTS = "inputs.json"


@dataclass(frozen=True)
class Inputs:
    """What a run takes and gives.

    Attributes:
        modalities: {name: description and normalisation}, in the dataset's order.
        classes: all classes of the dataset, by id.
        outputs: class id of each output of the network.
        window, stride: of its evaluation, pixels.
        stitching: what is averaged where windows overlap.
    """

    modalities: Mapping[str, ModalitySpec]
    classes: list[SceneClass]
    outputs: list[int]
    window: int
    stride: int
    stitching: Stitching

    @property
    def channels(self) -> dict[str, int]:
        """{modality: number of bands}."""
        return {name: entry.modality.channels for name, entry in self.modalities.items()}

    @property
    def letters(self) -> dict[str, str]:
        """{modality: letter}."""
        return {name: entry.modality.letter for name, entry in self.modalities.items()}

    @classmethod
    def of(cls, data: SceneDataModule, stitching: Stitching) -> Inputs:
        """What a datamodule reads."""
        from datamodules.loading.inference_rasters import ModalitySpec

        modalities = {
            layer.name: ModalitySpec.from_layer(layer, data.modalities[layer.name])
            for layer in data.layers
        }
        return cls(
            modalities, list(data.store.classes), data.outputs, data.window, data.stride, stitching
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "modalities": {name: entry.to_json() for name, entry in self.modalities.items()},
            "classes": [asdict(entry) for entry in self.classes],
            **{key: getattr(self, key) for key in ("outputs", "window", "stride", "stitching")},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Inputs:
        """Inverse of `to_json`; KeyError or TypeError for anything else."""
        from datamodules.loading.inference_rasters import ModalitySpec

        classes = [
            SceneClass(**{**entry, "color": tuple(entry["color"])}) for entry in content["classes"]
        ]
        modalities = {
            name: ModalitySpec.from_json(entry) for name, entry in content["modalities"].items()
        }
        return cls(
            modalities,
            classes,
            *(content[key] for key in ("outputs", "window", "stride", "stitching")),
        )
