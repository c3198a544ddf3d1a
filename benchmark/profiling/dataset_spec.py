"""What a dataset hands to a network; for named datasets before any import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.adapters.registry import ADAPTERS, load_adapter
from datamodules.miniature.registry import MINIATURES
from datamodules.store.scene_store import Modality, SceneClass, SceneStore
from usererror import UserError


@dataclass(frozen=True)
class InputSpec:
    """Channels and letters by modality, number of classes, side of a window in pixels."""

    channels: dict[str, int]
    letters: dict[str, str]
    num_classes: int
    side: int


def input_spec(data: str, section: Mapping[str, Any], store: Path) -> InputSpec:
    """Describe what the network of a run is given, by the arguments of its datamodule.

    The directory of stores is only read for data of the user's own.
    """
    known, classes = _facts(data, store)
    rasters = section.get("rasters") or {}
    channels, letters = {}, {}
    for name in section.get("modalities") or list(known):
        raster = rasters.get(name, name)
        if raster not in known:
            needed = f"{data}: modality {name!r} needs the raster {raster!r}"
            raise UserError(f"{needed}; there is {', '.join(known)}.")
        channels[name], letters[name] = known[raster].channels, known[raster].letter
    outputs = sum(not (one.clutter and section["clutter"] == "ignore") for one in classes)
    return InputSpec(channels, letters, outputs, section["window"])


def _facts(data: str, store: Path) -> tuple[dict[str, Modality], Sequence[SceneClass]]:
    """List all rasters a dataset can have, and its classes."""
    # the adapter's, so that a partial import changes nothing
    name = MINIATURES[data].adapter if data in MINIATURES else data
    if name in ADAPTERS:
        adapter = load_adapter(name)
        if adapter.classes is not None:
            return {one.name: one for one in adapter.modalities}, adapter.classes()
    opened = SceneStore.open(store.expanduser() / data)
    return opened.modalities, opened.classes
