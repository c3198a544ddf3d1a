"""The FLAIR-HUB miniature: what its sensors see of one ground, and the farmland around towns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from datamodules.miniature.aerial.canvas import BUILDING
from datamodules.miniature.aerial.farmland import CROPS, paint_farmland
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.open_data.flairhub import BY_CROP, mean_of_blocks, write_flairhub
from datamodules.splits.tables import read_split_table
from tests.support.quirks import read


@pytest.fixture(scope="module")
def farmed() -> tuple[Scene, Scene, np.ndarray]:
    before, after = (paint_scene(192, 0.5, np.random.default_rng(3)) for _ in range(2))
    return before, after, paint_farmland(after, np.random.default_rng(1))


def test_farmland_leaves_the_town_as_it_is(farmed: tuple[Scene, Scene, np.ndarray]) -> None:
    before, after, crops = farmed
    town = crops == 0
    assert 0.2 < town.mean() < 0.9 and len(np.unique(crops)) >= 3
    for name in ("label", "height", "material"):
        old, new = getattr(before, name), getattr(after, name)
        assert np.array_equal(old[town], new[town]) and (old != new).any()
    assert np.array_equal(before.reflectance[:, town], after.reflectance[:, town])


def test_no_house_is_cut_by_a_field(farmed: tuple[Scene, Scene, np.ndarray]) -> None:
    before, _, crops = farmed
    houses, number = ndimage.label(before.label == BUILDING)
    for house in range(1, number + 1):
        assert len(np.unique(crops[houses == house] > 0)) == 1


def test_crops_are_classes_of_the_dataset_in_their_order() -> None:
    names = {int(row["id"]): row["name"] for row in read_split_table("classes_flairhub").values()}
    assert [(crop.name, names[raw]) for crop, raw in zip(CROPS, BY_CROP, strict=True)] == [
        ("arable", "agricultural land"), ("plowed", "plowed land"), ("vineyard", "vineyard"),
        ("conifers", "coniferous"), ("brush", "brushwood"), ("greenhouse", "greenhouse"),
    ]  # fmt: skip


def test_sensors_show_one_ground(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("flairhub")
    write_flairhub(root)
    seen: dict[str, list[np.ndarray]] = {}
    tokens = "AERIAL_RGBI", "SPOT_RGBI", "DEM_ELEV", "AERIAL-RLT_PAN", "AERIAL_LABEL-COSIA"
    for token in tokens:
        # one name but for the year and the sensor
        paths = sorted(root.glob(f"*_{token}/*/*.tif"), key=lambda path: path.name.split("-")[0])
        assert len(paths) == 7
        seen[token] = [read(path) for path in paths]
    assert [seen[token][0].shape for token in tokens] == [
        (4, 64, 64), (4, 8, 8), (2, 64, 64), (1, 32, 32), (1, 64, 64),
    ]  # fmt: skip
    for aerial, spot in zip(seen["AERIAL_RGBI"], seen["SPOT_RGBI"], strict=True):
        near = mean_of_blocks(aerial, 8)[3].ravel()
        assert np.corrcoef(near, spot[3].ravel())[0, 1] > 0.6
    values = {int(value) for label in seen["AERIAL_LABEL-COSIA"] for value in np.unique(label)}
    assert {0, 3, 8, 12} < values <= set(range(19)) and values & set(BY_CROP)
