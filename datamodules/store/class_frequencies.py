"""How often each class occurs, from the counts that the import took: no pixel is read."""

from dataclasses import dataclass

import numpy as np

from datamodules.store.scene_store import IGNORE, PARTS, SceneStore
from usererror import UserError


@dataclass(frozen=True)
class ClassShares:
    """Labelled pixels of several scenes per class; `ignored` pixels have none.

    Example:
        >>> ClassShares(("road", "roof"), (30, 10), ignored=5, scenes=1).shares.tolist()
        [0.75, 0.25]
    """

    names: tuple[str, ...]
    pixels: tuple[int, ...]
    ignored: int
    scenes: int

    @property
    def shares(self) -> np.ndarray:
        """float64 (K,): the part of all labelled pixels that has the class, 0 without any."""
        return np.array(self.pixels, float) / max(1, sum(self.pixels))

    @property
    def ignored_share(self) -> float:
        """The part of all pixels that has no class."""
        return self.ignored / max(1, self.ignored + sum(self.pixels))


def count_classes(
    store: SceneStore, split: str = "split_standard", part: str = "train", label: str = "label"
) -> ClassShares:
    """Count the classes over the scenes of one part (train, val or test) of a split."""
    scenes = store.split(split)
    if part not in scenes:
        raise UserError(f"{part!r} is no part of a split; there are: {', '.join(PARTS)}.")
    if label not in store.labels:
        have = ", ".join(store.labels)
        raise UserError(f"{store.name} has no label column {label!r}; it has: {have}.")
    # an eroded label may be missing where the full one is there
    labelled = [scene for scene in scenes[part] if label in scene.paths]
    ids = [*(entry.id for entry in store.classes), IGNORE]
    pixels = np.zeros(len(ids), np.int64)
    for scene in labelled:
        counts = store.statistics[scene.id][label]["counts"]
        pixels += [counts[str(id_)] for id_ in ids]
    names = tuple(entry.name for entry in store.classes)
    return ClassShares(names, tuple(pixels[:-1].tolist()), int(pixels[-1]), len(labelled))
