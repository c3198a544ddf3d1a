"""`imss data` from the outside: one line on stderr for everything a user can get wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from benchmark.__main__ import main
from datamodules.store.scene_store import SceneStore


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with rasterio.open(path) as file:
        pixels = change(file.read())
    profile = dict(driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2])
    with rasterio.open(path, "w", dtype=pixels.dtype, **profile) as file:
        file.write(pixels)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DEFECTS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "truncated raster": (lambda root: truncate(root / "one_rgb.tif"), ["one_rgb.tif"]),
    "not an image": (lambda root: (root / "two_dsm.tif").write_bytes(b"hello"), ["two_dsm.tif"]),
    "dsm of another size": (
        lambda root: rewrite(root / "three_dsm.tif", lambda pixels: pixels[:, :-9]),
        ["three_dsm.tif", "66", "75"],
    ),
    "unknown label values": (
        lambda root: rewrite(root / "four_label.tif", lambda pixels: np.full_like(pixels, 77)),
        ["four_label.tif", "77"],
    ),
    "no valid pixel": (
        lambda root: rewrite(root / "five_label.tif", lambda pixels: np.full_like(pixels, 255)),
        ["five"],
    ),
    "missing file": (lambda root: (root / "one_nir.tif").unlink(), ["one_nir.tif"]),
    "modality without files": (
        lambda root: edit_column(root / "scenes.csv"),
        ["nir"],
    ),
    "no test scenes": (lambda root: edit(root / "scenes.csv", ",test,", ",train,"), ["test"]),
    "unknown split": (lambda root: edit(root / "scenes.csv", "two,val", "two,valid"), ["valid"]),
    "no classes": (lambda root: (root / "classes.csv").unlink(), ["classes.csv"]),
    "duplicate id": (lambda root: edit(root / "scenes.csv", "two,val", "one,val"), ["one"]),
}


def edit_column(path: Path) -> None:
    lines = path.read_text().splitlines()
    rows = [
        ",".join("" if cell.endswith("_nir.tif") else cell for cell in line.split(","))
        for line in lines
    ]
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_line_that_names_it(
    defect: str, tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_source, source)
    spoil, expected = DEFECTS[defect]
    spoil(source)
    assert (
        main(["data", "spoilt", "--source", str(source), "--store", str(tmp_path / "stores")]) == 2
    )
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("imss: ")]
    assert len(lines) == 1 and "Traceback" not in error
    assert all(text in lines[0] for text in expected), lines[0]
    assert not (tmp_path / "stores" / "spoilt" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nosuch"], ["no known dataset", "scenes.csv"]),
        (["potsdam"], ["SOURCE is missing", "ISPRS"]),
        (["potsdam", "--source", "/no/such/folder"], ["/no/such/folder"]),
        (["nosuch", "--verify"], ["make data DATA=nosuch"]),
    ],
)
def test_what_is_missing_is_said_with_the_remedy(
    words: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *words, "--store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("imss: ") and error.count("\n") == 1
    assert all(text in error for text in expected), error


def test_verify_finds_a_changed_file(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", str(tmp_path)]
    assert main(["data", "mine", "--source", str(tiny_source), *words]) == 0
    assert main(["data", "mine", "--verify", *words]) == 0
    assert "Verified" in capsys.readouterr().out
    victim = SceneStore.open(tmp_path / "mine").scenes[0].paths["label"]
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(bytes(content))
    assert main(["data", "mine", "--verify", *words]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_real_aerial_scenes_import_through_the_folder_adapter(tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[4] / "shared" / "samples" / "ign_rgb_nir_dsm"
    if not source.exists():
        pytest.skip("the sample rasters are not beside this checkout")
    assert main(["data", "ign", "--source", str(source), "--store", str(tmp_path)]) == 0
    store = SceneStore.open(tmp_path / "ign")
    assert [scene.id for scene in store.split("split_standard")["test"]] == ["scene_b"]
    # README of the samples: a and b 250 x 250, c 247 x 250 rows x columns
    assert {scene.id: (scene.height, scene.width) for scene in store.scenes} == {
        "scene_a": (250, 250),
        "scene_b": (250, 250),
        "scene_c": (247, 250),
    }
    assert {name: modality.letter for name, modality in store.modalities.items()} == {
        "rgb": "R",
        "nir": "N",
        "dsm": "D",
    }
