"""Damaged, swapped and hostile sources: a store that verifies, or one line with the file.

Every case copies a tiny generated dataset (hard links), harms it in one way drawn from a seed,
and imports it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.raster_io import write_raster
from datamodules.miniature.registry import MINIATURES
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import SceneStore
from tests.support.harm import HARM, OFTEN, pack, pack_tar
from tests.support.harm_case import RASTERS, Case, put
from tests.support.harm_texts import change_one, json_changed, table_changed
from usererror import UserError

LIMIT_S = 20  # of one import that takes a tenth of a second
OWN: dict[str, tuple[Callable[[Case], None], int]] = {
    "folder": (table_changed, 16),
    "dfc2023": (json_changed, 14),
}
DATASETS = (
    "potsdam",
    "vaihingen",
    "folder",
    "dfc2023",
    "deliver",
    "earthmiss",
    "flairhub",
    "geonrw",
    "hunan",
    "mmflood",
    "muses",
)
CASES = [
    (dataset, harm, seed)
    for dataset in DATASETS
    for harm, number in [
        *((harm, OFTEN.get(harm, 1)) for harm in HARM),
        *([OWN[dataset]] if dataset in OWN else []),
    ]
    for seed in range(2 * number)
]


def write_tiny(dataset: str, root: Path) -> list[str] | None:
    """Write the smallest copy with training and test scenes; return the ids to import."""
    if dataset == "potsdam":
        from tests.support.quirks import write_potsdam

        write_potsdam(root, size=32, tiles=["2_11", "2_13"], quirks=["only_rgbir"])
        return ["2_11", "2_13"]
    if dataset == "vaihingen":
        from tests.support.quirks import write_vaihingen

        write_vaihingen(
            root, size=32, tiles=["area1", "area2"], quirks=["labels_in_root", "ndsm_bmp"]
        )
        return ["area1", "area2"]
    if dataset == "folder":
        write_folder_of_two(root)
        return None
    if dataset == "dfc2023":
        from datamodules.miniature.dfc2023 import SIZES, write_dfc2023

        table = read_split_table("dfc2023")
        stems = SIZES["test"]["stems"]
        pair = [
            next(stem for stem in stems if table[stem]["split_standard"] == wanted)
            for wanted in ("train", "test")
        ]
        write_dfc2023(root, size=32, stems=pair)
        return pair
    if dataset == "deliver":
        return write_two_frames(root)
    miniature = MINIATURES[f"{dataset}_miniature"]
    miniature.write_source(root, "test")
    return miniature.scene_ids("test")


def write_two_frames(root: Path) -> list[str]:
    """Write two frames in DELIVER's layout: pictures of noise, every label a class."""
    draw = np.random.default_rng(0)
    ids = ["cloud/train/MAP_1_point1/000010", "night/test/MAP_2_point5_eventlowres/000020"]
    for id_ in ids:
        for folder, suffix in {
            "img": "rgb",
            "hha": "depth",
            "event": "event",
            "lidar": "lidar",
        }.items():
            values = draw.integers(0, 256, (3, 32, 32), dtype=np.uint8)
            write_raster(root / "DELIVER" / folder / f"{id_}_{suffix}_front.png", values, "PNG")
        label = draw.integers(1, 26, (4, 32, 32), dtype=np.uint8)
        write_raster(root / "DELIVER" / "semantic" / f"{id_}_semantic_front.png", label, "PNG")
    return ids


def write_folder_of_two(root: Path) -> None:
    draw = np.random.default_rng(0)
    rows = ["id,split,rgb,dsm,label"]
    for id_, split in (("s0", "train"), ("s1", "test")):
        for raster, values in {
            "rgb": draw.integers(0, 256, (3, 30, 34), dtype=np.uint8),
            "dsm": draw.normal(30, 5, (1, 30, 34)).astype(np.float32),
            "label": draw.integers(0, 3, (1, 30, 34), dtype=np.uint8),
        }.items():
            write_raster(root / raster / f"{id_}.tif", values)
        rows.append(f"{id_},{split},rgb/{id_}.tif,dsm/{id_}.tif,label/{id_}.tif")
    (root / "scenes.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.csv").write_text(
        "id,name,r,g,b\n0,road,90,90,90\n1,roof,200,30,30\n2,tree,0,110,0\n"
    )


@pytest.fixture(scope="module")
def tiny(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, list[str] | None]]:
    """Return a function that gives the folder of a tiny copy and the ids to import from it."""
    made: dict[str, tuple[Path, list[str] | None]] = {}

    def get(dataset: str) -> tuple[Path, list[str] | None]:
        if dataset not in made:
            root = tmp_path_factory.mktemp(dataset)
            made[dataset] = root, write_tiny(dataset, root)
        return made[dataset]

    return get


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise in this thread when the time is over: a hang is a failure like any other."""

    def over(*_: object) -> None:
        raise AssertionError(f"not finished after {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def listing(root: Path, without: Path) -> dict[bytes, tuple[int, ...]]:
    """Return what tells that anything has changed below `root` but `without`."""
    found = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if Path(folder, name) != without]
        for name in (*subfolders, *names):
            status = os.lstat(os.path.join(folder, name))
            form = (0, 0) if name in subfolders else (status.st_size, status.st_mtime_ns)
            found[os.fsencode(os.path.join(folder, name))] = (status.st_mode, status.st_ino, *form)
    return found


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200
    assert len({harm.__name__ for _, harm, _ in CASES}) >= 25


@pytest.mark.parametrize(
    ("dataset", "harm", "seed"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_a_store_or_one_line(dataset, harm, seed, tiny, tmp_path, monkeypatch):
    copy, ids = tiny(dataset)
    case = Case(tmp_path, dataset, ids, random.Random(f"{dataset} {harm.__name__} {seed}"))
    shutil.copytree(copy, case.source, copy_function=os.link)
    harm(case)
    for name in ("stores", "here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    store_root = tmp_path / "stores" / "x"
    (tmp_path / "stores" / "x").mkdir()
    before = listing(tmp_path, store_root)
    with limit(LIMIT_S), open(os.devnull, "w") as nowhere:
        try:
            store = import_named_dataset(
                dataset,
                case.source,
                tmp_path / "stores",
                name="x",
                tiles=ids,
                console=Console(file=nowhere),
            )
        except UserError as error:
            text = str(error)
            assert text.isprintable(), f"not one printable line: {text!r}"
            assert any(
                name in text for name in case.names or ["SOURCE", ".zip", *RASTERS, ".csv"]
            ), text
            assert not (store_root / "dataset.json").exists()
            with pytest.raises(UserError):
                SceneStore.open(store_root)
        else:
            assert store.verify() == []
            assert {"train", "test"} <= {scene.splits["split_standard"] for scene in store.scenes}
            assert SceneStore.open(store_root).fingerprint == store.fingerprint
            assert not (store_root / "scratch").exists()
    assert listing(tmp_path, store_root) == before


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("packing", [pack, pack_tar])
def test_packed_it_is_the_same_dataset(packing, dataset, tiny, tmp_path):
    copy, ids = tiny(dataset)
    case = Case(tmp_path, dataset, ids, random.Random(dataset))
    shutil.copytree(copy, case.source)
    plain = import_named_dataset(dataset, copy, tmp_path / "plain", name="x", tiles=ids)
    packing(case)
    packed = import_named_dataset(dataset, case.source, tmp_path / "more", name="x", tiles=ids)
    assert packed.fingerprint == plain.fingerprint


def test_an_archive_with_a_member_that_has_no_name(tiny, tmp_path):
    copy, ids = tiny("folder")
    case = Case(tmp_path, "folder", ids, random.Random(0))
    shutil.copytree(copy, case.source)
    packed = pack(case, lambda archive: archive.writestr("nameless.txt", b""))
    content = packed.read_bytes()
    place = content.rfind(
        b"nameless.txt"
    )  # in the list of contents, where 28 and 29 of an entry are the name's length
    entry = content.rfind(b"PK\1\2", 0, place)
    end = content.rfind(b"PK\5\6")
    listed = bytearray(content[entry:place] + content[place + len(b"nameless.txt") : end])
    listed[28:30] = b"\0\0"
    tail = bytearray(content[end:])
    tail[12:16] = struct.pack("<I", struct.unpack("<I", tail[12:16])[0] - len(b"nameless.txt"))
    put(packed, content[:entry] + bytes(listed) + bytes(tail))
    assert "" in zipfile.ZipFile(packed).namelist()
    assert import_named_dataset("folder", packed, tmp_path / "stores", name="x").verify() == []


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_store_is_mended_or_said(seed, tiny, tmp_path):
    """A changed dataset.json is not trusted; a journal may end in the middle of a line."""
    rng = random.Random(seed)
    copy, _ = tiny("folder")
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere)
        store = import_named_dataset("folder", copy, tmp_path, name="x", console=console)
        described = store.root / "dataset.json"
        if unfinished := rng.random() < 0.5:
            described.unlink()
            journal = (store.root / "import.jsonl").read_text()
            (store.root / "import.jsonl").write_text(journal[: rng.randrange(len(journal))])
        else:
            text = described.read_text()
            changed = json.dumps(change_one(json.loads(text), rng))
            described.write_text(rng.choice([changed, text[: rng.randrange(len(text))]]))
        with limit(LIMIT_S):
            try:
                again = import_named_dataset("folder", copy, tmp_path, name="x", console=console)
            except UserError as error:
                assert not unfinished and str(error).isprintable() and "FORCE=1" in str(error)
            else:
                assert again.verify() == []
                assert not unfinished or again.fingerprint == store.fingerprint
        forced = import_named_dataset(
            "folder", copy, tmp_path, name="x", force=True, console=console
        )
    assert forced.fingerprint == store.fingerprint and forced.verify() == []
