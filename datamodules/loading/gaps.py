"""Which rasters of training scenes are held back where training is to be incomplete.

A network is then trained as if those rasters did not exist: neither their pixels nor their
statistics are read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from datamodules.store.scene_store import Scene
from usererror import UserError

Rates = float | Mapping[str, float]


def rates_by_modality(rates: Rates, modalities: Sequence[str]) -> dict[str, float]:
    """Check rates, one for all or {modality: rate}, and name that of every modality; unnamed: 0.

    Example:
        >>> rates_by_modality({"dsm": 0.5}, ["rgb", "dsm"])
        {'rgb': 0.0, 'dsm': 0.5}
    """
    named = rates if isinstance(rates, Mapping) else dict.fromkeys(modalities, rates)
    if unknown := sorted(set(named) - set(modalities)):
        remedy = f"give rates for some of {', '.join(modalities)}"
        raise UserError(f"data.gap_rates names {', '.join(unknown)}; {remedy}.")
    for name, rate in named.items():
        if not 0 <= rate < 1:
            raise UserError(f"data.gap_rates is {rate:g} for {name}: give 0 or more, less than 1.")
    return {name: float(named.get(name, 0)) for name in modalities}


def draw_uniform(seed: int, scene: str, modality: str) -> float:
    """Draw from [0, 1), the same for the same arguments on every machine and in every run."""
    digest = hashlib.sha256(json.dumps([seed, scene, modality]).encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def draw_gaps(scene: str, rates: Mapping[str, float], seed: int) -> tuple[str, ...]:
    """Draw which modalities a training scene loses, in the order of `rates`, which it has.

    Modality m is lost where its draw is below its rate r_m. Where all M would be, the one stays
    whose draw is the largest share of its rate, which is each of them equally often: m is lost
    with probability r_m - r_1 r_2 ... r_M / M.

    Example:
        >>> draw_gaps("2_10", {"rgb": 0.0, "dsm": 0.99}, seed=0)
        ('dsm',)
        >>> draw_gaps("2_10", {"rgb": 0.99}, seed=0)
        ()
    """
    shares = {}
    for name, rate in rates.items():
        draw = draw_uniform(seed, scene, name)
        if draw < rate:
            shares[name] = draw / rate
    if len(shares) == len(rates):
        del shares[max(shares, key=shares.__getitem__)]
    return tuple(shares)


def draw_scene_gaps(
    scenes: Sequence[Scene], rasters: Mapping[str, str], rates: Rates, seed: int
) -> dict[str, tuple[str, ...]]:
    """Draw {scene: lost modalities} for the scenes that lose any; `rasters` are by modality.

    What a scene really lacks is neither drawn nor named.
    """
    by_modality = rates_by_modality(rates, list(rasters))
    gaps = {}
    for scene in scenes:
        has = {m: rate for m, rate in by_modality.items() if rasters[m] in scene.paths}
        if has and (lost := draw_gaps(scene.id, has, seed)):
            gaps[scene.id] = lost
    return gaps


def without_rasters(scene: Scene, hidden: Sequence[str]) -> Scene:
    """Return the scene as one that lacks these rasters."""
    paths = {raster: path for raster, path in scene.paths.items() if raster not in hidden}
    return replace(scene, paths=paths)
