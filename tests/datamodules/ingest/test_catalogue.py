"""The generated datasets by name, and importing them so that the store stands on its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.registry import MINIATURES
from datamodules.named import DeliverDataModule


@pytest.mark.parametrize("name", MINIATURES)
def test_every_miniature_has_three_sizes_and_says_what_it_is(name: str, tmp_path: Path) -> None:
    miniature = MINIATURES[name]
    sides = [miniature.writer_arguments(size)["size"] for size in ("test", "demonstration", "real")]
    assert sides == sorted(set(sides)), "each is larger than the one before"
    miniature.write_source(tmp_path / "source", "test")
    assert "Miniature" in json.loads((tmp_path / "source" / "about.json").read_text())["title"]
    store = import_named_dataset(
        miniature.adapter,
        tmp_path / "source",
        tmp_path,
        name=name,
        tiles=miniature.scene_ids("test"),
        copy=True,
    )
    assert (
        store.name == name and "procedural" in store.info["title"] and not store.info["incomplete"]
    )
    if (wanted := miniature.scene_ids("test")) is not None:
        assert {scene.id for scene in store.scenes} == set(wanted)
    shutil.rmtree(tmp_path / "source")
    assert store.verify() == [], "nothing of the source is needed any more"


def test_a_copy_can_follow_an_import_in_place(tmp_path: Path) -> None:
    miniature = MINIATURES["dfc2023_miniature"]
    miniature.write_source(tmp_path / "source", "test")

    def load(copy: bool) -> tuple[str, set[bool]]:
        tiles = miniature.scene_ids("test")
        store = import_named_dataset(
            "dfc2023", tmp_path / "source", tmp_path / "stores", tiles=tiles, copy=copy
        )
        return store.fingerprint, {s.paths["sar"].is_relative_to(store.root) for s in store.scenes}

    in_place, copied, kept = load(copy=False), load(copy=True), load(copy=False)
    assert in_place[1] == {False} and copied[1] == {True} and kept == copied
    assert in_place[0] == copied[0], "the same pixels, wherever they lie"


def test_deliver_without_hha_takes_grey_depth_and_says_so(tmp_path: Path) -> None:
    miniature = MINIATURES["deliver_miniature"]
    miniature.write_source(tmp_path / "source", "test")
    shutil.rmtree(tmp_path / "source" / "hha")
    import_named_dataset(
        "deliver", tmp_path / "source", tmp_path, tiles=miniature.scene_ids("test")
    )
    with pytest.warns(UserWarning, match="no HHA pictures: depth is the grey one"):
        data = DeliverDataModule(store=str(tmp_path), window=32)
    assert data.rasters["depth"] == "depth_grey" and data.channels["depth"] == 1
    assert list(data.modalities) == ["rgb", "depth", "event", "lidar"]
