"""What a network takes and gives, kept beside a run so that it can read rasters of no dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from datamodules.store.names import check_name
from datamodules.store.scene_store import SceneClass

if TYPE_CHECKING:
    from benchmark.evaluation.subset_confusion import Stitching
    from datamodules.base import SceneDataModule
    from datamodules.loading.inference_rasters import ModalitySpec

INPUTS = "inputs.json"
STITCHINGS = ("logits", "probabilities")
PLAIN = ("outputs", "window", "stride", "stitching")


@dataclass(frozen=True)
class Inputs:
    """What a network takes and gives."""

    modalities: Mapping[str, ModalitySpec]  # by name, in the dataset's order
    classes: list[SceneClass]  # all of the dataset, by id
    outputs: list[int]  # class id of each output of the network
    # of its evaluation, in pixels
    window: int
    stride: int
    stitching: Stitching

    @property
    def channels(self) -> dict[str, int]:
        """Number of bands by modality."""
        return {name: entry.modality.channels for name, entry in self.modalities.items()}

    @property
    def letters(self) -> dict[str, str]:
        """Letter by modality."""
        return {name: entry.modality.letter for name, entry in self.modalities.items()}

    @property
    def output_names(self) -> list[str]:
        """Name of the class of each output, which holds in any dataset, as its id does not."""
        names = {entry.id: entry.name for entry in self.classes}
        return [names[number] for number in self.outputs]

    @classmethod
    def of(cls, data: SceneDataModule, stitching: Stitching) -> Inputs:
        """Describe what a datamodule reads."""
        from datamodules.loading.inference_rasters import ModalitySpec

        modalities = {}
        for layer in data.layers:
            modalities[layer.name] = ModalitySpec.from_layer(layer, data.modalities[layer.name])
        classes = list(data.store.classes)
        return cls(modalities, classes, data.outputs, data.window, data.stride, stitching)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        content = {key: getattr(self, key) for key in PLAIN}
        content["modalities"] = {name: spec.to_json() for name, spec in self.modalities.items()}
        content["classes"] = list(map(asdict, self.classes))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Inputs:
        """Invert `to_json`; KeyError or TypeError for anything else."""
        from datamodules.loading.inference_rasters import ModalitySpec

        # JSON has no tuples, which colours are
        classes = []
        for entry in content["classes"]:
            classes.append(SceneClass(**{**entry, "color": tuple(entry["color"])}))
        modalities = {}
        for name, spec in content["modalities"].items():
            check_name("modality", name)
            modalities[name] = ModalitySpec.from_json(spec)
        # a run may come from anybody
        ids = {entry.id for entry in classes}
        window, stride = content["window"], content["stride"]
        if not ids.issuperset(content["outputs"]) or {type(window), type(stride)} != {int}:
            raise TypeError("outputs are ids of classes, window and stride are pixels")
        if not 1 <= stride <= window or content["stitching"] not in STITCHINGS:
            raise ValueError("the stride is at most the window; stitching is one of the known")
        return cls(modalities, classes, **{key: content[key] for key in PLAIN})
