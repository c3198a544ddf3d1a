"""How often each class occurs, and the class weights that published losses derive from it; no torch, no pixel is read.

The counts are those that the import took of every label raster. Ignored pixels (255) belong to no class and enter no
share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.store.scene_store import IGNORE, PARTS, SceneStore
from usererror import UserError

RULES = ("none", "inverse", "median", "enet")
ENET_C = 1.02  # ENet, Paszke et al. 2016


@dataclass(frozen=True)
class ClassShares:
    """Labelled pixels of several scenes per class.

    Attributes:
        names: of the K classes, in the order of `pixels`.
        pixels: how many pixels each class has.
        surroundings: labelled pixels, of whatever class, in those scenes in which the class occurs.
        ignored: pixels without one of these classes.
        scenes: how many scenes were counted.
    """

    names: tuple[str, ...]
    pixels: tuple[int, ...]
    surroundings: tuple[int, ...]
    ignored: int
    scenes: int

    @property
    def shares(self) -> np.ndarray:
        """float64 K: the part of all labelled pixels that has the class; they sum to 1 (all 0 where there are none)."""
        return np.array(self.pixels, float) / max(1, sum(self.pixels))

    @property
    def frequencies(self) -> np.ndarray:
        """float64 K: share among the pixels of scenes in which the class occurs, 0 for one that never does.

        This is `freq(c)` of Eigen and Fergus 2015 over labelled pixels; being rare among scenes does not lower it.
        """
        return np.array(self.pixels, float) / np.maximum(1, self.surroundings)


def class_shares(
    store: SceneStore,
    split: str = "split_standard",
    part: str = "train",
    label: str = "label",
    classes: Sequence[int] | None = None,
) -> ClassShares:
    """Count the classes over the scenes of one part of a split.

    Args:
        store: an imported dataset.
        split: split column.
        part: train, val or test.
        label: label column; scenes without it are left out.
        classes: ids to count, all by default. Pixels of the others count as ignored, e.g. clutter where a network is
            trained without it.

    Raises:
        UserError: the store has no such split, label or class, or `part` is no part.
    """
    scenes = store.split(split)
    if part not in scenes:
        raise UserError(f"{part!r} is no part of a split; there are: {', '.join(PARTS)}.")
    if label not in store.labels:
        raise UserError(
            f"{store.name} has no label column {label!r}; it has: {', '.join(store.labels)}."
        )
    names = {entry.id: entry.name for entry in store.classes}
    ids = list(names) if classes is None else list(classes)
    if unknown := [id_ for id_ in ids if id_ not in names]:
        raise UserError(
            f"{store.name} has no class {unknown[0]}; it has: {', '.join(map(str, names))}."
        )
    found = [
        store.statistics[scene.id][label]["counts"]
        for scene in scenes[part]
        if label in scene.paths
    ]
    pixels = np.array([[counts[str(id_)] for id_ in ids] for counts in found], np.int64).reshape(
        len(found), len(ids)
    )
    labelled = pixels.sum(axis=1)
    others = sum(counts[str(id_)] for counts in found for id_ in (*names, IGNORE) if id_ not in ids)
    return ClassShares(
        names=tuple(names[id_] for id_ in ids),
        pixels=tuple(pixels.sum(axis=0).tolist()),
        surroundings=tuple((labelled[:, None] * (pixels > 0)).sum(axis=0).tolist()),
        ignored=others,
        scenes=len(found),
    )


def class_weights(shares: ClassShares, rule: str) -> np.ndarray:
    """Return one weight per class, float64 K, to multiply the loss of the pixels of that class with.

    Rules, with p the share of a class and K the number of classes that occur:
        none: 1.
        inverse: 1 / (K p), so that the mean weight of a labelled pixel is 1 (King and Zeng 2001, weights known as
            "balanced").
        median: median frequency balancing, median(f) / f with f the frequency in scenes that have the class, and the
            median over the classes that occur (Eigen and Fergus 2015).
        enet: 1 / ln(1.02 + p), which lies between 1.42 and 50.5 (ENet, Paszke et al. 2016).

    No rule scales its weights further. A class that does not occur has weight 0 under `inverse` and `median`: no
    training pixel asks for it, so any finite number does the same, and 0 keeps sums and validation losses finite too.
    Under `enet` the formula itself is finite there (50.5) and is kept, and `none` is 1 throughout.

    Raises:
        UserError: an unknown rule, or shares without a single labelled pixel.
    """
    if rule not in RULES:
        raise UserError(
            f"There is no rule {rule!r} for class weights; there are: {', '.join(RULES)}."
        )
    if not any(shares.pixels):
        raise UserError("Class weights need at least one labelled pixel; these scenes have none.")
    occurs = np.array(shares.pixels) > 0
    if rule == "none":
        return np.ones(len(occurs))
    if rule == "enet":
        return 1 / np.log(ENET_C + shares.shares)
    values = shares.shares if rule == "inverse" else shares.frequencies
    top = 1 / occurs.sum() if rule == "inverse" else float(np.median(values[occurs]))
    return np.divide(top, values, out=np.zeros(len(occurs)), where=occurs)
