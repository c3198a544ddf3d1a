"""SceneDataModule: it reads what is on disk; where and when depends on the seed alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from datamodules.adapters.registry import import_named_dataset
from datamodules.base import SceneDataModule
from datamodules.loading.windows import covering_windows
from usererror import UserError

Folder = Callable[..., dict[str, dict[str, np.ndarray]]]
UNTOUCHED: dict[str, Any] = {"scale_jitter": (1.0, 1.0), "colour_jitter": 0.0, "nadir": False}


@pytest.fixture
def store(tmp_path: Path, write_folder: Folder) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    truth = write_folder(tmp_path / "source", splits=("train", "train", "val", "test"))
    import_named_dataset("mine", tmp_path / "source", tmp_path / "stores")
    return tmp_path / "stores", truth


def module(stores: Path, **options: Any) -> SceneDataModule:
    return SceneDataModule(
        "mine", str(stores), **{"window": 16, "batch_size": 2, "num_workers": 0, **options}
    )


def test_evaluation_windows_are_the_normalised_pixels_of_the_files(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    stores, truth = store
    data = module(stores, normalization={"rgb": "imagenet", "dsm": {"mean": [30.0], "std": [5.0]}})
    seen = np.zeros((40, 50), int)
    for batch in data.test_dataloader():
        for number, (row, col, height, width) in enumerate(batch["window"].tolist()):
            here = (slice(row, row + height), slice(col, col + width))
            seen[here] += 1
            assert np.array_equal(batch["mask"][number].numpy(), truth["s3"]["label"][0][here])
            dsm = (truth["s3"]["dsm"][0][here] - 30) / 5
            assert np.allclose(batch["image"]["dsm"][number, 0].numpy(), dsm, atol=1e-5)
            red = (truth["s3"]["rgb"][0][here] / 255 - 0.485) / 0.229
            assert np.allclose(batch["image"]["rgb"][number, 0].numpy(), red, atol=1e-5)
    assert (seen > 0).all()


def test_training_windows_are_cut_from_the_scene_they_name(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    stores, truth = store
    data = module(
        stores, **UNTOUCHED, normalization={"rgb": "imagenet", "dsm": {"mean": [0.0], "std": [1.0]}}
    )
    mirrored = set()
    for batch in data.train_dataloader():
        for number, (row, col, height, width) in enumerate(batch["window"].tolist()):
            raster = truth[batch["scene"][number]]
            here = (slice(row, row + height), slice(col, col + width))
            label, dsm = raster["label"][0][here], raster["dsm"][0][here]
            flip = not np.array_equal(batch["mask"][number].numpy(), label)
            mirrored.add(flip)
            if flip:
                label, dsm = label[:, ::-1], dsm[:, ::-1]
            assert np.array_equal(batch["mask"][number].numpy(), label)
            assert np.allclose(batch["image"]["dsm"][number, 0].numpy(), dsm, atol=1e-4)
    assert mirrored == {True, False}


def test_an_epoch_can_have_a_length_and_scenes_equal_shares(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    def shares(**options: Any) -> list[int]:
        counts: Counter[str] = Counter()
        for batch in module(store[0], window=8, **options).train_dataloader():
            counts.update(batch["scene"])
        return [counts["s0"], counts["s1"]]

    by_area = shares()
    assert sum(by_area) > 8
    assert shares(epoch_windows=40, sampling="scene") == [20, 20]
    assert sum(shares(epoch_windows=12)) == 12
    with pytest.raises(UserError, match="epoch_windows is 0"):
        module(store[0], epoch_windows=0)


def test_windows_depend_on_seed_and_epoch_but_not_on_workers(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    def epoch(number: int, **options: Any) -> list[dict[str, Any]]:
        loader = module(store[0], **options).train_dataloader()
        loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
        return list(loader)

    base = epoch(0)
    for same in (epoch(0), epoch(0, num_workers=2)):
        assert all(
            torch.equal(a["image"]["rgb"], b["image"]["rgb"])
            for a, b in zip(base, same, strict=True)
        )
    for other in (epoch(1), epoch(0, seed=1)):
        assert not all(
            torch.equal(a["image"]["rgb"], b["image"]["rgb"])
            for a, b in zip(base, other, strict=True)
        )


def test_an_epoch_is_the_number_of_windows_without_overlap(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    loader = module(store[0]).train_dataloader()
    windows = 2 * len(covering_windows(40, 50, 16, 16))
    assert len(loader) == -(-windows // 2)


def test_scenes_smaller_than_the_window_are_padded_without_labels(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    stores, truth = store
    data = module(stores, window=64, **UNTOUCHED)
    with pytest.warns(UserWarning, match="smaller than the window"):
        batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (2, 64, 64)
    assert int((batch["mask"] != 255).sum()) == 2 * 40 * 50
    test = next(iter(data.test_dataloader()))
    assert test["window"].tolist() == [[0, 0, 40, 50]]
    assert torch.equal(test["mask"][0, :40, :50], torch.from_numpy(truth["s3"]["label"][0]).long())
    assert (test["mask"][0, 40:] == 255).all() and (test["mask"][0, :, 50:] == 255).all()
    edge = test["image"]["dsm"][0, 0]
    assert torch.equal(edge[40:, :50], edge[39, :50].expand(24, 50)), (
        "the image goes on with its edge"
    )


def test_modalities_can_be_chosen_and_ordered(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    data = module(store[0], modalities=["dsm", "rgb"])
    assert data.channels == {"dsm": 1, "rgb": 3} and list(data.letters.values()) == ["D", "R"]
    assert list(next(iter(data.test_dataloader()))["image"]) == ["dsm", "rgb"]


def test_clutter_is_ignored_in_training_and_kept_in_evaluation(tmp_path: Path) -> None:
    from datamodules.miniature.potsdam import write_potsdam

    tiles = ["2_10", "2_11", "2_12", "2_13", "5_11", "7_12"]
    write_potsdam(tmp_path / "source", size=64, tiles=tiles)
    import_named_dataset("potsdam", tmp_path / "source", tmp_path, name="mini", tiles=tiles)
    options: dict[str, Any] = {
        "modalities": ["rgb", "dsm", "nir"],
        "window": 64,
        "batch_size": 4,
        "num_workers": 0,
    }
    five = SceneDataModule("mini", str(tmp_path), **options)
    six = SceneDataModule("mini", str(tmp_path), clutter="class", **options)
    assert (five.num_classes, six.num_classes) == (5, 6)
    assert five.label_map[5] == 255 and six.label_map[5] == 5
    trained = {int(value) for batch in five.train_dataloader() for value in batch["mask"].unique()}
    assert trained <= {0, 1, 2, 3, 4, 255}
    evaluated = next(iter(five.test_dataloader()))
    stored = five.store.statistics["2_13"]["label"]["counts"]
    assert int((evaluated["mask"] == 5).sum()) >= int(stored["5"]) > 0
    # the band is what the eroded label leaves out
    eroded = five.store.statistics["2_13"]["label_eroded"]["counts"]
    assert int(evaluated["region"].sum()) == int(eroded["255"])


def test_scenes_that_really_lack_a_modality_come_in_batches_of_their_own(
    tmp_path: Path, write_folder: Folder
) -> None:
    write_folder(tmp_path / "source", splits=("train", "train", "val", "test", "test"))
    table = tmp_path / "source" / "scenes.csv"
    table.write_text(table.read_text().replace("dsm/s1.tif", "").replace("dsm/s4.tif", ""))
    import_named_dataset("mine", tmp_path / "source", tmp_path / "stores", allow_incomplete=True)
    data = module(tmp_path / "stores")
    for loader, lacking in ((data.train_dataloader(), "s1"), (data.test_dataloader(), "s4")):
        kinds = set()
        for batch in loader:
            lacks = {scene == lacking for scene in batch["scene"]}
            assert len(lacks) == 1
            assert (
                ("dsm" not in batch["image"])
                == lacks.pop()
                == (not batch["available"]["dsm"].any())
            )
            assert batch["available"]["rgb"].all()
            kinds.add("dsm" in batch["image"])
        assert kinds == {True, False}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"modalities": ["rgb", "thermal"]}, "thermal"),
        ({"rasters": {"dsm": "ndsm"}}, "ndsm"),
        ({"modalities": ["rgb", "dsm"], "rasters": {"dsm": "rgb"}}, "share a letter"),
        ({"split": "split_other"}, "split_other"),
        ({"score_label": "label_eroded"}, "label_eroded"),
        ({"normalization": {"nir": "unit"}}, "nir"),
        ({"stride": 17}, "stride 17"),
    ],
)
def test_settings_that_do_not_fit_name_what_would(
    options: dict[str, Any], text: str, store: tuple[Path, dict[str, dict[str, np.ndarray]]]
) -> None:
    with pytest.raises(UserError, match=text):
        module(store[0], **options)


def test_no_store_says_how_to_import_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make data DATA=mine SOURCE="):
        module(tmp_path)


def test_a_batch_stays_within_one_row_of_windows_where_a_row_fills_it(
    store: tuple[Path, dict[str, dict[str, np.ndarray]]],
) -> None:
    # 50 px wide, window 16, stride 8: six windows a row; four fit a batch, eight do not fill one
    rows = [
        np.unique(batch["window"][:, 0]).tolist()
        for batch in module(store[0], eval_batch_size=4).test_dataloader()
    ]
    assert all(len(row) == 1 for row in rows) and sorted({row[0] for row in rows}) == [0, 8, 16, 24]
    mixed = [
        np.unique(batch["window"][:, 0]).tolist()
        for batch in module(store[0], eval_batch_size=8).test_dataloader()
    ]
    assert any(len(row) > 1 for row in mixed)


@pytest.mark.parametrize(("device", "workers"), [("cuda", 2), ("cpu", 1), ("cpu", 0)])
def test_readers_stay_and_read_ahead_into_memory_that_a_gpu_copies_from(
    device: str, workers: int, store: tuple[Path, dict[str, dict[str, np.ndarray]]]
) -> None:
    data = module(store[0], num_workers=workers)
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = cast(Any, SimpleNamespace(strategy=strategy, global_rank=0, world_size=1))
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        assert loader.pin_memory is (device == "cuda")
        assert loader.persistent_workers is (workers > 0)
        assert loader.prefetch_factor == (2 if workers else None)  # batches for each reader
