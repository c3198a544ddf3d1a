"""The Potsdam miniature's sensors need one another: none suffices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.miniature.aerial.canvas import INDEX
from datamodules.miniature.potsdam import potsdam_scene
from tests.support.potsdam_layout import TOWN, layer

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def sample(root: Path, kinds: dict[str, tuple[int, str]]) -> dict[str, dict[str, np.ndarray]]:
    """Per kind (class, material): rgb (N, 3), nir (N) and height above the ground (N)."""
    out: dict[str, dict[str, list[np.ndarray]]] = {
        kind: {"rgb": [], "nir": [], "height": []} for kind in kinds
    }
    for tile in TOWN:
        scene = potsdam_scene(256, 0, tile)
        rgbir = layer(root, tile, "RGBIR").astype(float)
        dsm = layer(root, tile, "1_DSM/")[0].astype(float)
        dsm -= np.median(dsm[scene.label == 0])
        for kind, (label, material) in kinds.items():
            mask = (scene.label == label) & (scene.material == INDEX[material])
            out[kind]["rgb"].append(rgbir[:3, mask].T)
            out[kind]["nir"].append(rgbir[3, mask])
            out[kind]["height"].append(dsm[mask])
    return {
        kind: {name: np.concatenate(parts) for name, parts in values.items()}
        for kind, values in out.items()
    }


def separation(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of means over the bands, in pooled standard deviations (d')."""
    spread = np.sqrt((a.var(0) + b.var(0)) / 2)
    return float(np.max(abs(a.mean(0) - b.mean(0)) / spread))


def test_what_is_alike_in_one_sensor_is_apart_in_another(town: Path) -> None:
    kinds = {
        "road": (0, "asphalt"), "grey roof": (1, "bitumen"), "lawn": (2, "lawn"),
        "dry lawn": (2, "dry_lawn"), "shrub": (2, "foliage"), "crown": (3, "foliage"),
        "paving": (0, "paving"), "green court": (0, "turf"),
    }  # fmt: skip
    seen = sample(town, kinds)
    assert all(len(values["nir"]) > 500 for values in seen.values())

    def apart(sensor: str, a: str, b: str) -> float:
        return separation(seen[a][sensor], seen[b][sensor])

    assert apart("rgb", "road", "grey roof") < 1 and apart("nir", "road", "grey roof") < 1
    assert seen["grey roof"]["height"].mean() - seen["road"]["height"].mean() > 2
    assert apart("height", "road", "grey roof") > 2
    assert (
        apart("height", "road", "lawn") < 0.5 and apart("nir", "road", "lawn") > 1
    )  # shadows included
    assert apart("rgb", "green court", "lawn") < 1 and apart("nir", "green court", "lawn") > 1
    assert apart("rgb", "paving", "dry lawn") < 1.5 and apart("nir", "paving", "dry lawn") < 1.5
    ratio = {
        kind: np.log(values["nir"] + 1) - np.log(values["rgb"][:, 0] + 1)
        for kind, values in seen.items()
    }
    assert separation(ratio["paving"], ratio["dry lawn"]) > 2, (
        "what neither camera knows alone, both know together"
    )
    assert apart("rgb", "shrub", "crown") < 1 and apart("nir", "shrub", "crown") < 1
    assert apart("height", "shrub", "crown") > 1.5


def test_every_sensor_helps_and_none_suffices(town: Path) -> None:
    """On local means and deviations, each sensor beats chance and falls short of all three."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    from scipy import ndimage

    def features(values: np.ndarray) -> list[np.ndarray]:
        out = [values]
        for sigma in (1, 2, 5):
            mean = ndimage.gaussian_filter(values, sigma)
            variance = ndimage.gaussian_filter(values * values, sigma) - mean * mean
            out += [mean, np.sqrt(np.maximum(variance, 0))]
        return out

    def pixels(tiles: tuple[str, ...], step: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        columns: dict[str, list[np.ndarray]] = {"R": [], "N": [], "D": []}
        labels = []
        for tile in tiles:
            rgbir = layer(town, tile, "RGBIR").astype(np.float32)
            dsm = layer(town, tile, "1_DSM/")[0]
            bands = {"R": list(rgbir[:3]), "N": [rgbir[3]], "D": [dsm - np.percentile(dsm, 5)]}
            truth = potsdam_scene(256, 0, tile).label.ravel()
            chosen = np.flatnonzero(truth != 5)[::step]
            for name, images in bands.items():
                stack = [value.ravel()[chosen] for image in images for value in features(image)]
                columns[name].append(np.stack(stack, -1))
            labels.append(truth[chosen])
        values = {name: np.concatenate(parts) for name, parts in columns.items()}
        return values, np.concatenate(labels)

    (train, truth), (test, expected) = pixels(TOWN[::2], 23), pixels(TOWN[1::2], 23)
    iou = {}
    for subset in ("R", "N", "D", "RND"):
        forest = ensemble.ExtraTreesClassifier(
            25, min_samples_leaf=3, random_state=0, class_weight="balanced_subsample"
        )
        forest.fit(np.concatenate([train[name] for name in subset], 1), truth)
        found = forest.predict(np.concatenate([test[name] for name in subset], 1))
        matrix = np.zeros((5, 5))
        np.add.at(matrix, (expected, found), 1)
        hits = matrix.diagonal()
        iou[subset] = hits / (matrix.sum(0) + matrix.sum(1) - hits)
        p, q = (np.bincount(values, minlength=5) / len(values) for values in (found, expected))
        assert (iou[subset] > 1.2 * p * q / (p + q - p * q)).all(), (
            f"{subset}: blind guessing does as well"
        )
    assert iou["RND"].mean() > 0.75
    for subset in ("R", "N", "D"):
        assert (
            iou[subset].mean() < iou["RND"].mean() - 0.15
            and (iou[subset] < iou["RND"] - 0.03).all()
        ), (subset, iou)
    assert iou["N"].mean() < iou["R"].mean()
