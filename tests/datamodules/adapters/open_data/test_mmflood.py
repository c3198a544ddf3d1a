"""MMFlood: the generated copy as people may have it (dossier of open datasets, section 6)."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.open_data.mmflood import RELEASE
from datamodules.miniature.open_data.mmflood import mmflood_ids, write_mmflood
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import Scene, SceneStore
from tests.support.quirks import copy as copy_file
from tests.support.quirks import move, read, rewrite
from usererror import UserError

DATASET = "mmflood"
TILES = mmflood_ids()
CUT = "EMSR107/EMSR107-1-0"  # the edge of a swath runs through it, and it has no hydro
FIRST = "activations/EMSR107-0/s1_raw/EMSR107-0-0.tif"
LIST = "activations.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mmflood")
    write_mmflood(root, size=32)
    # a part of which no tile has permanent water
    for folder in root.glob("activations/EMSR238-*/hydro"):
        shutil.rmtree(folder)
    return root


def scene_of(store: SceneStore, tile: str) -> Scene:
    return next(scene for scene in store.scenes if scene.id == tile)


def without_event_list(root: Path) -> None:
    (root / LIST).unlink()


def events_in_the_root(root: Path) -> None:
    move(root / "activations", root)


def capital_extension(root: Path) -> None:
    for path in list(root.rglob("*.tif")):
        path.rename(path.with_suffix(".TIF"))


def stray_pictures(root: Path) -> None:
    copy_file(root / FIRST, root / FIRST.replace("s1_raw", "preview"))


def zipped(root: Path) -> None:
    shutil.make_archive(str(root / "activations"), "zip", root, "activations")
    shutil.rmtree(root / "activations")


def packed_as_published(root: Path) -> None:
    with tarfile.open(root / "activations.tar.gz", "w:gz") as packed:
        packed.add(root / "activations", "activations")
    shutil.rmtree(root / "activations")


HABITS = (
    without_event_list, events_in_the_root, capital_extension, stray_pictures, zipped,
    packed_as_published,
)  # fmt: skip


def test_pixels_come_as_the_release_has_them(
    plain: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    store = load(plain)
    assert len(store.scenes) == 8 and not store.info["incomplete"]
    scene = scene_of(store, TILES[0])
    for raster, folder in {"sar": "s1_raw", "dem": "DEM", "hydro": "hydro"}.items():
        stored = read(plain / FIRST.replace("s1_raw", folder))
        assert np.array_equal(pixels(scene.paths[raster]), stored)
    assert scene.attributes == {"event": "EMSR107", "country": "Slovenia"}
    # degrees are no metres
    assert store.info["gsd_m"] == 10 and len({(s.height, s.width) for s in store.scenes}) == 3
    assert [entry.name for entry in store.classes] == ["other", "flood"]


def test_a_label_is_ignored_exactly_where_the_radar_holds_no_value(
    plain: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    ignored = 0
    for scene in load(plain).scenes:
        name = scene.id.split("/")[1]
        folder = plain / "activations" / name.rpartition("-")[0]
        unseen = ~np.isfinite(read(folder / "s1_raw" / f"{name}.tif")).all(0)
        raw = read(folder / "mask" / f"{name}.tif")[0]
        assert np.array_equal(pixels(scene.paths["label"])[0], np.where(unseen, 255, raw))
        ignored += int(unseen.sum())
    assert ignored


def test_hydro_is_a_gap_and_never_zeros(
    plain: Path,
    load: Callable[..., SceneStore],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = load(plain)
    have = {scene.id for scene in store.scenes if "hydro" in scene.paths}
    assert have == {"EMSR107/EMSR107-0-0", "EMSR141/EMSR141-0-0", "EMSR192/EMSR192-0-0",
                    "EMSR192/EMSR192-1-0"}  # fmt: skip
    said = capsys.readouterr().out
    assert "hydro: 4 of 8 tiles have it (split_standard: 3 train, 1 test)" in said.replace(
        "\n", " "
    )
    assert "whole release: 54 train, 7 val, 34 test; 1748 tiles, 1012 with hydro" in said


def test_water_is_not_at_the_clip(plain: Path, load: Callable[..., SceneStore]) -> None:
    store = load(plain)
    # 5th percentiles of the dB values; floods cover more than a tenth
    for tile in TILES:
        vv, vh = store.statistics[tile]["sar"]["p05"]
        assert -30 < vv < -15 and -35 < vh < -24
    assert store.modalities["sar"].clip_db == ((-30, 0), (-35, -5))


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_dataset(
    habit: Callable[[Path], None], plain: Path, copy: Path, load: Callable[..., SceneStore]
) -> None:
    habit(copy)
    assert load(copy).fingerprint == load(plain).fingerprint


def test_whole_events_can_be_chosen(plain: Path, load: Callable[..., SceneStore]) -> None:
    store = load(plain, tiles=["EMSR107", "EMSR141/EMSR141-1-0"])
    assert [scene.id for scene in store.scenes] == [*TILES[:2], TILES[-1]]


def test_the_split_is_that_of_the_event_list(
    plain: Path, copy: Path, load: Callable[..., SceneStore]
) -> None:
    table = read_split_table("mmflood_split")
    roles = [row["split_standard"] for row in table.values()]
    assert [roles.count(part) for part in ("train", "val", "test")] == [54, 7, 34]
    counts = dict.fromkeys(("train", "val", "test"), 0)
    countries: dict[str, set[str]] = {}
    for row in table.values():
        counts[row["split_standard"]] += int(row["n_delineations"])
        countries.setdefault(row["country"], set()).add(row["split_standard"])
    assert counts == {"train": 279, "val": 42, "test": 144}
    assert sum(len(parts) > 1 for parts in countries.values()) == 9
    assert "nine countries" in RELEASE.split_notes["split_standard"]
    for scene in load(plain).scenes:
        assert scene.splits["split_standard"] == table[scene.attributes["event"]]["split_standard"]

    events = json.loads((copy / LIST).read_text())
    events["EMSR107"]["subset"] = "test"
    (copy / LIST).write_text(json.dumps(events))
    store = load(copy)
    assert "1 event(s) in another part than published: EMSR107" in str(store.info["warnings"])
    assert scene_of(store, CUT).splits == {"split_standard": "test"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "is no list of events"),
        ('{"EMSR107": {}}', r"is no list of events with their subset \(KeyError\)"),
        ('{"EMSR107": {"subset": "trian"}}', "subset of EMSR107 is none of train, val, test"),
        ('{"EMSR107": {"subset": ["train"]}}', "subset of EMSR107 is none of"),
        ('{"EMSR107": ', "is no list of events"),
    ],
)
def test_a_damaged_event_list_is_refused(
    text: str, problem: str, copy: Path, load: Callable[..., SceneStore]
) -> None:
    (copy / LIST).write_text(text)
    with pytest.raises(UserError, match=f"{LIST}.*{problem}"):
        load(copy)


def test_an_event_of_no_list_stays_unused(copy: Path, load: Callable[..., SceneStore]) -> None:
    for path in list(copy.rglob("EMSR192-1-0.tif")):
        move(path, Path(str(path).replace("EMSR192-1", "EMSR999-0")))
    store = load(copy, tiles=["EMSR107", "EMSR141", "EMSR999"])
    assert scene_of(store, "EMSR999/EMSR999-0-0").splits == {"split_standard": "unused"}
    assert "1 event(s) are in no part and stay unused: EMSR999" in str(store.info["warnings"])


def test_defects_end_in_one_line(copy: Path, load: Callable[..., SceneStore]) -> None:
    with pytest.raises(UserError, match=r"91 needed file.* the folders of event EMSR117"):
        load(copy, tiles=None)
    mask = copy / FIRST.replace("s1_raw", "mask")
    rewrite([mask], lambda raw: raw + 1)
    with pytest.raises(UserError, match=r"EMSR107-0-0.tif.*value that is no class \(2"):
        load(copy)
    mask.unlink()
    with pytest.raises(UserError, match=r"1 needed file.*EMSR107-0/mask/EMSR107-0-0.tif"):
        load(copy)
    copy_file(copy / FIRST, mask)
    with pytest.raises(UserError, match=r"mask/EMSR107-0-0.tif has 2 band\(s\), expected 1"):
        load(copy)
    with pytest.raises(UserError, match=r"No file of MMFlood .*EMSR548-0/s1_raw"):
        load(copy / "activations/EMSR107-0/DEM")


def test_rasters_of_other_sizes_are_refused(copy: Path, load: Callable[..., SceneStore]) -> None:
    rewrite([copy / FIRST.replace("s1_raw", "hydro")], lambda bands: bands[:, :-3])
    with pytest.raises(UserError, match=r"hydro/EMSR107-0-0.tif has 48 x 38 pixels"):
        load(copy)


def test_a_small_copy_with_events_of_its_own_imports_incomplete(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    # as torchgeo tests its reader: invented events, named in their own list
    events = {}
    for number, part in enumerate(("train", "val", "test")):
        old, new = ("EMSR107", "EMSR238", "EMSR141")[number], f"EMSR{number:03d}"
        for path in list(copy.glob(f"activations/{old}-*/*/*.tif")):
            move(path, Path(str(path).replace(old, new)))
        events[new] = {"title": "Test flood", "country": "N/A", "subset": part}
    (copy / LIST).write_text(json.dumps(events))
    with pytest.raises(UserError, match="INCOMPLETE=1"):
        load(copy, tiles=None)
    store = load(copy, tiles=None, allow_incomplete=True)
    assert len(store.scenes) == 8
    parts = {scene.attributes["event"]: scene.splits["split_standard"] for scene in store.scenes}
    assert parts == {"EMSR000": "train", "EMSR001": "val", "EMSR002": "test", "EMSR192": "train"}


def test_parts_alone_are_named_with_what_to_do(
    tmp_path: Path, load: Callable[..., SceneStore]
) -> None:
    for number in range(2):
        (tmp_path / f"activations.tar.{number:03d}.gz.part").write_bytes(b"\x1f\x8b part")
    with pytest.raises(UserError, match=r"activations.tar.000.gz.part.*[Jj]oin"):
        load(tmp_path)
