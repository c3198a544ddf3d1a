"""Damage of a small generated scene, read as the loaders read it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from datamodules.damage.fields import Floats, Key, field_key
from datamodules.damage.scenario import Scenario
from datamodules.damage.site import Site
from datamodules.loading.damaged_windows import damaged_versions
from datamodules.loading.input_layer import InputLayer
from datamodules.loading.normalize import Normalizer
from datamodules.miniature.aerial.sar import LOOKS, radar_backscatter
from datamodules.miniature.aerial.scene import paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.rasters.units import to_decibels
from datamodules.store.reader import Window, pad_edge

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "scenario"
UNITS = {"optical": "counts", "height_absolute": "m", "sar": "dB", "sar_linear": "linear"}
SHAPE = (150, 173)  # no multiples of tiles, blocks or cells


def read_scenarios() -> dict[str, Scenario]:
    """Every scenario that is shipped."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        found[path.stem] = Scenario.parse(path.stem, yaml.safe_load(path.read_text("utf-8")))
    return found


SCENARIOS = read_scenarios()
# each with every kind of sensor of which there is a scene
CASES = [(name, kind) for name, one in SCENARIOS.items() for kind in UNITS if one.affects(kind)]


@cache
def scene_values(kind: str) -> Floats:
    """A generated scene as stored, radar in decibels, float32 `(C, H, W)`."""
    rng = np.random.default_rng(3)
    ground = paint_scene(max(SHAPE), 0.4, rng)
    if kind == "optical":
        values = take_orthophoto(ground, rng)[:3].astype(np.float32)
    elif kind == "height_absolute":
        values = surface_model(ground, rng)[None] + np.float32(310)
    else:
        speckle = rng.standard_normal((2 * LOOKS, *ground.label.shape))
        linear = radar_backscatter(ground, 0.5, 0.6, speckle)
        values = to_decibels(linear)[None]
    values = np.ascontiguousarray(values[:, : SHAPE[0], : SHAPE[1]])
    values.flags.writeable = False
    return values


def layer_of(values: Floats, kind: str, top: float | None = None) -> InputLayer:
    """An input layer, with the statistics of a scene `area`, that standardises it."""
    each = {"axis": (1, 2)}
    found = {
        "p05": np.percentile(values, 5, axis=(1, 2)).tolist(),
        "min": values.min(**each).tolist(),
        "max": values.max(**each).tolist(),
    }
    mean, std = (part(**each, keepdims=True) for part in (values.mean, values.std))
    normalizer = Normalizer(mean, std, {}, kind, {"area": found["p05"]})
    return InputLayer(
        kind, kind, len(values), normalizer, top, UNITS.get(kind, "counts"), {"area": found}
    )


def damage_scene(scenario: Scenario, kind: str, place: Window | None = None) -> Floats:
    """Every severity of a window of the generated scene, standardised, `(S, C, H, W)`."""
    values = scene_values(kind)

    def read(part: Window) -> np.ndarray:
        rows, cols = (
            slice(start, start + side) for start, side in zip(part, part[2:], strict=False)
        )
        return pad_edge(values[:, rows, cols], part.height, part.width)

    layer = layer_of(values, kind, 255.0 if kind == "optical" else None)
    return damaged_versions(read, layer, "area", place or Window(0, 0, *SHAPE), scenario)


def site_of(
    values: Floats,
    kind: str = "other",
    unit: str = "counts",
    top: float | None = None,
    place: Window | None = None,
    key: Key | None = None,
) -> Site:
    """A site of values that are the whole scene."""
    found = layer_of(values, kind).statistics["area"]
    limits = [np.asarray(found[name], np.float32)[:, None, None] for name in ("p05", "min", "max")]
    place = place or Window(0, 0, *values.shape[1:])
    return Site(key or field_key("a", "b"), place, kind, unit, top, *limits)


def print_digests() -> None:
    """Print a hash of every scenario's damage, for another process to compare."""
    for name, kind in CASES:
        digest = hashlib.sha256(damage_scene(SCENARIOS[name], kind).tobytes()).hexdigest()
        print(name, kind, digest)


if __name__ == "__main__":
    print_digests()
