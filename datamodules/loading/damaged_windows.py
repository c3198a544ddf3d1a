"""Windows of a scene as a scenario damages them."""

from collections.abc import Callable

import numpy as np

from datamodules.damage.scenario import Scenario
from datamodules.damage.site import Site
from datamodules.loading.input_layer import InputLayer
from datamodules.store.reader import Window

Read = Callable[[Window], np.ndarray]


def damaged_versions(
    read: Read, layer: InputLayer, scene: str, place: Window, scenario: Scenario
) -> np.ndarray:
    """Damage a window of a scene in every severity; normalised, float32 `(S, C, H, W)`.

    `read` returns valid values of any window that begins inside the scene.
    """
    normalizer, found = layer.normalizer, layer.statistics[scene]
    limits = {}
    for name, kept in {"fill": "p05", "lowest": "min", "highest": "max"}.items():
        limits[name] = np.asarray(found[kept], np.float32)[:, None, None]
    if scenario.stage == "normalised":
        limits = {name: normalizer.standardize(one, scene) for name, one in limits.items()}
    versions = []
    for damage in scenario.severities.values():
        margin = damage.margin
        around = Window(
            place.row - margin, place.col - margin, *(side + 2 * margin for side in place[2:])
        )
        values = read_around(read, around)
        site = Site(
            key=scenario.key(scene, layer.name),
            place=around,
            kind=normalizer.kind,
            unit=layer.unit,
            top=layer.optical_top if scenario.stage == "stored" else None,
            **limits,
            clip_db=normalizer.clip_db,
        )
        inside = np.s_[:, margin : margin + place.height, margin : margin + place.width]
        if scenario.stage == "stored":
            damaged = damage.apply(values, site)[inside]
            damaged = normalizer.standardize(damaged, scene)
        else:
            damaged = damage.apply(normalizer.standardize(values, scene), site)[inside]
        versions.append(damaged)
    return np.stack(versions)


def read_around(read: Read, place: Window) -> np.ndarray:
    """Read a window that may begin above or left of the scene, whose edges repeat there."""
    row, col = max(place.row, 0), max(place.col, 0)
    above, before = row - place.row, col - place.col
    # beyond the lower and the right edge the reader itself repeats them
    values = read(Window(row, col, place.height - above, place.width - before))
    return np.pad(values, ((0, 0), (above, 0), (before, 0)), "edge") if above or before else values
