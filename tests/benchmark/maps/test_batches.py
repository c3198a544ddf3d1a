"""Batches of windows against reading and predicting every window for itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.experiment.model_inputs import Inputs
from benchmark.experiment.models import build_model
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun
from benchmark.maps.batches import read_batches
from benchmark.maps.predict import class_ids, predict_strips
from benchmark.maps.window_grid import plain_rows, sheared_rows
from datamodules.loading.inference_rasters import ModalitySpec, open_scene, parse_inputs
from datamodules.store.reader import Window
from datamodules.store.scene_store import Modality, SceneClass
from tests.support.placed import write

HEIGHT, WIDTH, WINDOW, STRIDE = 100, 150, 64, 32
RGB = Modality("rgb", "R", 3, "uint8", "counts", "optical")
DSM = Modality("dsm", "D", 1, "float32", "metres", "height")
SPECS = {
    "rgb": ModalitySpec(RGB, [90.0] * 3, [50.0] * 3, False),
    "dsm": ModalitySpec(DSM, [5.0], [4.0], True),
}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Colours and heights; of the right part nothing is known."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(1, 255, (3, HEIGHT, WIDTH)).astype(np.uint8)
    dsm = rng.normal(30, 4, (1, HEIGHT, WIDTH)).astype(np.float32)
    rgb[..., 70:], dsm[..., 80:], dsm[:, :30, :30] = 0, np.nan, np.nan
    return [
        f"rgb={write(tmp_path / 'rgb.tif', rgb, nodata=0)}",
        f"dsm={write(tmp_path / 'dsm.tif', dsm)}",
    ]


@pytest.mark.parametrize("grid", [plain_rows, sheared_rows])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_every_window_is_read_once_as_it_would_be_alone(
    grid: Any, size: int, words: list[str]
) -> None:
    rows = list(grid(HEIGHT, WIDTH, WINDOW, STRIDE))
    # a panel in the middle, whose windows reach beyond both of its sides
    columns = range(40, 90)
    wanted = []
    with open_scene(parse_inputs(words, list(SPECS)), SPECS) as (rasters, _):
        batches = list(read_batches(rasters, iter(rows), columns, WINDOW, size))
        for _, corners in rows:
            for row, col in corners:
                window = Window(row, col, WINDOW, WINDOW)
                alone = {name: raster.read(window) for name, raster in rasters.items()}
                valid = alone["rgb"][1] | alone["dsm"][1]
                if valid.any() and not set(columns).isdisjoint(range(col, col + WINDOW)):
                    wanted.append(((row, col), alone, valid))
    read = [(batch, number) for batch in batches for number in range(len(batch.corners))]
    assert [batch.corners[number] for batch, number in read] == [one[0] for one in wanted]
    for (batch, number), (_, alone, valid) in zip(read, wanted, strict=True):
        np.testing.assert_array_equal(batch.valid[number], valid)
        for name, (pixels, _) in alone.items():
            np.testing.assert_array_equal(batch.images[name][number], pixels)
    assert max(len(batch.corners) for batch in batches) <= size
    # no batch reaches above rows that were called final
    finals = [0, *(batch.final for batch in batches)]
    assert finals == sorted(finals) and finals[-1] == HEIGHT
    for batch, above in zip(batches, finals, strict=False):
        assert all(row >= above or above == 0 for row, _ in batch.corners)


@pytest.mark.parametrize("stitching", ["logits", "probabilities"])
def test_a_network_says_the_same_of_windows_that_it_sees_together(
    stitching: Any, words: list[str]
) -> None:
    torch.manual_seed(0)
    channels = {name: spec.modality.channels for name, spec in SPECS.items()}
    model = build_model("sgma", channels, 4, backbone="pvt_v2_b0", pretrained=False).eval()
    classes = [SceneClass(number, f"c{number}", (0, 0, 0)) for number in range(4)]
    inputs = Inputs(SPECS, classes, [0, 1, 2, 3], WINDOW, STRIDE, stitching)
    trained = TrainedRun(model, inputs, Request("sgma", "toy"))
    rows = partial(plain_rows, HEIGHT, WIDTH, WINDOW, STRIDE)
    maps = {}
    with open_scene(parse_inputs(words, list(SPECS)), SPECS) as (rasters, grid):
        for size in (1, 2, 5):
            strips = predict_strips(trained, rasters, grid, WINDOW, rows, size)
            maps[size] = torch.cat([means for _, _, means in strips], 1)
    assert maps[1].shape == (4, HEIGHT, WIDTH)
    alone, best = maps[1], maps[1].nan_to_num().topk(2, 0).values
    for size in (2, 5):
        torch.testing.assert_close(maps[size], alone, rtol=1e-4, atol=1e-4, equal_nan=True)
        # labels differ at most where two classes are as near as rounding
        other = class_ids(maps[size], range(4)) != class_ids(alone, range(4))
        assert (best[0] - best[1])[torch.from_numpy(other)].lt(2e-4).all()
