"""Reading and writing beside the network: they overlap, keep order, and fail where they should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from benchmark.__main__ import main
from benchmark.experiment.model_inputs import Inputs
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun
from benchmark.maps.geotiff import MapFiles
from benchmark.maps.overlap import finished_behind, made_ahead
from datamodules.loading.inference_rasters import InferenceRaster, ModalitySpec
from datamodules.store.scene_store import Modality, SceneClass
from tests.support.placed import write

SOON = 30  # seconds after which what should have happened counts as not happening
NIR = ModalitySpec(Modality("nir", "N", 1, "uint8", "counts", "optical"), [100.0], [60.0], False)


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(5)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    with made_ahead(items()) as ahead:
        for number in ahead:
            assert number == 4 or made[number + 1].wait(SOON)
            # and no more than that: memory holds two
            time.sleep(0.01)
            assert not any(event.is_set() for event in made[number + 2 :])
    assert number == 4


def test_calls_are_finished_in_order_while_the_next_is_prepared() -> None:
    done, prepared = [], [threading.Event() for _ in range(4)]

    def finish(number: int) -> None:
        assert number == 3 or prepared[number + 1].wait(SOON)
        done.append(number)

    with finished_behind(finish) as later:
        for number in range(4):
            prepared[number].set()
            later(number)
            assert done == list(range(number))
    assert done == [0, 1, 2, 3]


def test_errors_reach_the_caller_and_nothing_runs_on() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"), made_ahead(items()) as ahead:
        list(ahead)

    def fails(number: int) -> None:
        raise OSError(28, "No space left")

    with pytest.raises(OSError, match="No space"), finished_behind(fails) as later:
        later(0)
    with pytest.raises(OSError, match="No space"), finished_behind(fails) as later:
        later(0)
        later(1)
        pytest.fail("the error of the first call came late")

    in_use = threading.Event()

    def slow() -> Iterator[int]:
        while True:
            in_use.set()
            time.sleep(0.05)
            in_use.clear()
            yield 1

    with pytest.raises(RuntimeError, match="elsewhere"), made_ahead(slow()) as ahead:
        next(ahead)
        raise RuntimeError("elsewhere")
    # files that `slow` reads may be closed here
    assert not in_use.is_set()


@pytest.mark.parametrize("slow", ["reading", "network", "writing"])
def test_a_map_does_not_depend_on_what_is_slow(
    slow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[int]] = {"reading": set(), "network": set(), "writing": set()}

    def slowed(kind: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            threads[kind].add(threading.get_ident())
            time.sleep(0.02 * (slow == kind))
            return function(*args)

        return call

    network: Any = SimpleNamespace(
        device=torch.device("cpu"),
        sees=lambda modalities: True,
        encode=lambda images: images,
        decode=slowed("network", lambda given, size: torch.cat([given["nir"], -given["nir"]], 1)),
    )
    classes = [SceneClass(0, "low", (0, 0, 0)), SceneClass(1, "high", (9, 9, 9))]
    trained = TrainedRun(
        network, Inputs({"nir": NIR}, classes, [1, 0], 32, 16, "logits"), Request("a", "b")
    )
    monkeypatch.setattr("benchmark.experiment.restore.load_trained_run", lambda *given: trained)
    monkeypatch.setattr(InferenceRaster, "read", slowed("reading", InferenceRaster.read))
    monkeypatch.setattr(MapFiles, "write_strip", slowed("writing", MapFiles.write_strip))
    pixels = np.random.default_rng(0).integers(0, 255, (1, 90, 80)).astype(np.uint8)
    path, out = write(tmp_path / "nir.tif", pixels), tmp_path / "map.tif"
    words = ["predict", "--run", "x", "--out", str(out), "--batch", "2", "--input", f"nir={path}"]
    assert main(words) == 0
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(1), pixels[0] >= 100)
    # each in one thread of its own: a file of GDAL is used by one at a time
    assert [len(found) for found in threads.values()] == [1, 1, 1]
    assert len(set.union(*threads.values())) == 3
