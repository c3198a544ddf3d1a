"""The contact sheet by what it means: cells, the colours in them, the numbers beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from benchmark.__main__ import main
from benchmark.figures.contact_sheet import compose_sheet
from benchmark.figures.dataset_summary import (
    choose_scenes,
    count_all_shares,
    training_statistics,
)
from datamodules.adapters.registry import import_named_dataset
from datamodules.store.scene_store import SceneStore

CLASSES = {
    0: (201, 33, 77),
    1: (20, 140, 60),
    2: (37, 91, 211),
}  # colours that no stretch of an image hits by chance
HATCH = {(237, 237, 237)}  # the ground of a cell without pixels, between the lines of the hatch


def write(path: Path, pixels: np.ndarray) -> None:
    profile = dict(driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2])
    with rasterio.open(path, "w", dtype=pixels.dtype, **profile) as file:
        file.write(pixels)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., SceneStore]:
    """Return a function that imports `scenes` {id: {column: text or C x H x W}}."""

    def make(scenes: dict[str, dict[str, object]], about: str = "{}") -> SceneStore:
        source = tmp_path / "source"
        source.mkdir()
        columns = list(dict.fromkeys(column for scene in scenes.values() for column in scene))
        lines = [",".join(["id", *columns])]
        for number, (id_, scene) in enumerate(scenes.items()):
            cells = [id_]
            for column in columns:
                value = scene.get(column, "")
                if isinstance(value, np.ndarray):
                    write(source / f"{number}_{column}.tif", value)
                    value = f"{number}_{column}.tif"
                cells.append(str(value))
            lines.append(",".join(cells))
        (source / "scenes.csv").write_text("\n".join(lines) + "\n")
        rows = [f"{id_},class{id_},{r},{g},{b}" for id_, (r, g, b) in CLASSES.items()]
        (source / "classes.csv").write_text("\n".join(["id,name,r,g,b", *rows]) + "\n")
        (source / "about.json").write_text(about)
        return import_named_dataset(
            "folder", source, tmp_path / "stores", name="mine", allow_incomplete=True
        )

    return make


def quarters(side: int = 60) -> np.ndarray:
    """1 x side x side: class 0, 1, 2 and 255 in one quarter each."""
    return np.kron(np.array([[0, 1], [2, 255]]), np.ones((side // 2, side // 2), int)).astype(
        np.uint8
    )[None]


def sheet(store: SceneStore, blend: float = 0.0, scenes: list[str] | None = None) -> Figure:
    split = store.info["splits"][0]
    rows = [scene for scene in store.scenes if scenes is None or scene.id in scenes]
    shares = count_all_shares(store, split)[store.labels[0]]
    return compose_sheet(store, split, rows, shares, training_statistics(store, split), blend)


def cell(figure: Figure, name: str) -> np.ndarray:
    """Pixels h x w x 3 inside the frame of the cell `name`, as drawn."""
    figure.canvas.draw()
    axis = next(axis for axis in figure.axes if axis.get_label() == name)
    canvas = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    box = axis.get_window_extent()
    height = len(canvas)
    return canvas[
        height - int(box.y1) + 2 : height - int(box.y0) - 2, int(box.x0) + 2 : int(box.x1) - 2
    ]


def colours(pixels: np.ndarray) -> dict[tuple[int, ...], float]:
    """{colour: share of the pixels}."""
    values, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return {
        tuple(map(int, value)): int(count) / counts.sum()
        for value, count in zip(values, counts, strict=True)
    }


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datamodules.miniature.potsdam import write_potsdam

    tiles = ["2_10", "2_11", "2_13"]
    write_potsdam(tmp_path / "source", size=96, tiles=tiles)
    store = import_named_dataset(
        "potsdam", tmp_path / "source", tmp_path / "stores", name="small", tiles=tiles
    )
    assert main(["show", "small", "--store", str(tmp_path / "stores")]) == 0
    image = imread(store.root / "contact_sheet.png")
    assert image.shape[1] > 1500 and image[..., :3].std() > 0.1
    printed = capsys.readouterr().out
    assert str(store.root / "contact_sheet.png") in printed and store.fingerprint[:12] in printed
    counts = [
        store.statistics[scene.id]["label"]["counts"]
        for scene in store.split("split_standard")["train"]
    ]
    building = sum(count["1"] for count in counts) / sum(sum(count.values()) for count in counts)
    assert f"{100 * building:.2f}" in next(
        line for line in printed.splitlines() if line.startswith("building")
    )

    figure = sheet(store)
    assert store.fingerprint[:12] in texts(figure) and "pixel side 0.25 m" in texts(figure)
    palette = {entry.color for entry in store.classes}
    for scene in store.scenes:
        full, eroded = (set(colours(cell(figure, f"{scene.id} {label}"))) for label in store.labels)
        assert full <= palette and len(full) > 3
        assert eroded - palette == {(0, 0, 0)}  # the border that erosion leaves without class


def test_a_label_cell_has_the_class_colours_in_the_right_places(
    make_store: Callable[..., SceneStore],
) -> None:
    rgb = np.full((3, 60, 60), 128, np.uint8)
    store = make_store(
        {id_: {"split": id_, "rgb": rgb, "label": quarters()} for id_ in ("train", "test")}
    )
    figure = sheet(store, blend=0.5)
    drawn = cell(figure, "train label")
    found = colours(drawn)
    assert set(found) == {*CLASSES.values(), (0, 0, 0)}
    assert all(abs(share - 0.25) < 0.02 for share in found.values())
    height, width = drawn.shape[:2]
    places = [(0.2, 0.2), (0.2, 0.8), (0.8, 0.2), (0.8, 0.8)]
    corners = [tuple(map(int, drawn[int(y * height), int(x * width)])) for y, x in places]
    assert corners == [*CLASSES.values(), (0, 0, 0)]
    mixture = cell(figure, "train overlay")
    for (y, x), colour in zip(places, [*CLASSES.values(), None], strict=True):
        expected = (
            np.full(3, 128) if colour is None else (np.array(colour) + 128) / 2
        )  # no class: the image alone
        assert np.abs(mixture[int(y * height), int(x * width)] - expected).max() <= 1
    assert set(colours(cell(figure, "train rgb"))) == {(128, 128, 128)}


def test_a_missing_raster_is_a_hatched_cell(make_store: Callable[..., SceneStore]) -> None:
    draw = np.random.default_rng(0)
    scenes = {
        id_: {
            "split": id_,
            "rgb": draw.integers(0, 255, (3, 40, 60), np.uint8),
            "label": quarters()[:, 10:50],
        }
        for id_ in ("train", "val", "test")
    }
    for id_ in ("train", "test"):
        scenes[id_]["dsm"] = draw.normal(30, 5, (1, 40, 60)).astype(np.float32)
    scenes["train"]["dsm"][0, :20] = -9999  # no height in the upper half
    store = make_store(scenes)
    figure = sheet(store)
    assert "missing" in texts(figure) and "1 missing rasters" in texts(figure)
    assert set(colours(cell(figure, "val dsm"))) >= HATCH
    assert not set(colours(cell(figure, "test dsm"))) & HATCH
    upper, lower = np.array_split(cell(figure, "train dsm"), 2)
    assert set(colours(upper)) >= HATCH and not set(colours(lower[4:])) & HATCH


def test_five_bands_of_int16_and_radar(make_store: Callable[..., SceneStore]) -> None:
    draw = np.random.default_rng(0)
    scenes = {
        id_: {
            "split": id_,
            "optical": (
                np.arange(5)[:, None, None] * 1000 + draw.integers(-99, 99, (5, 60, 60))
            ).astype(np.int16),
            "sar": np.tile(np.geomspace(0.01, 1, 60, dtype=np.float32), (1, 60, 1)),
            "label": quarters(),
        }
        for id_ in ("train", "test")
    }
    kinds = {"optical": {"kind": "optical"}, "sar": {"kind": "sar_linear", "unit": "linear"}}
    about = json.dumps({"modalities": kinds})
    store = make_store(scenes, about)
    figure = sheet(store)
    # each band is stretched by itself: no band is all black or white although they lie 1000 apart
    bands = cell(figure, "train optical").transpose(2, 0, 1)
    assert all(60 < band.mean() < 195 and np.ptp(band) > 200 for band in bands)
    # from -20 to 0 dB along a row: a straight ramp of grey
    ramp = cell(figure, "train sar")[20, :, 0].astype(float)
    straight = np.clip(
        np.interp(np.arange(len(ramp)), (0.02 * len(ramp), 0.98 * len(ramp)), (0, 255)), 0, 255
    )
    assert np.abs(ramp - straight).max() < 10
    rows = {
        (row["raster"], row["band"]): row for row in training_statistics(store, "split_standard")
    }
    assert len(rows) == 6
    pixels = scenes["train"]["optical"]
    for band in range(5):
        row = rows["optical", band + 1]
        assert row["mean"] == pytest.approx(pixels[band].mean()) and row["std"] == pytest.approx(
            pixels[band].std()
        )
        assert (row["min"], row["max"]) == (pixels[band].min(), pixels[band].max())
    assert rows["sar", 1]["unit"] == "dB" and rows["sar", 1]["mean"] == pytest.approx(-10, abs=0.01)


def test_statistics_are_those_of_all_training_pixels_together(
    make_store: Callable[..., SceneStore],
) -> None:
    draw = np.random.default_rng(0)
    scenes = {
        f"s{i}": {
            "split": split,
            "dsm": draw.normal(9 * i, 2, (1, 40 + i, 50)).astype(np.float32),
            "label": quarters(100)[:, : 40 + i, :50],
        }
        for i, split in enumerate(("train", "train", "train", "test"))
    }
    row = training_statistics(make_store(scenes), "split_standard")[0]
    together = np.concatenate([scenes[f"s{i}"]["dsm"].ravel() for i in range(3)]).astype(float)
    assert row["pixels"] == together.size and row["scenes"] == 3
    assert row["mean"] == pytest.approx(together.mean()) and row["std"] == pytest.approx(
        together.std()
    )
    assert (row["min"], row["max"]) == (together.min(), together.max())


def test_tables_beside_the_sheet(make_store: Callable[..., SceneStore], tmp_path: Path) -> None:
    label = quarters()
    label[0, :, 30:] = 0  # 3/4 class 0, 1/4 class 2, class 1 nowhere
    rgb = np.zeros((3, 60, 60), np.uint8)
    store = make_store(
        {id_: {"split": id_, "rgb": rgb, "label": label} for id_ in ("train", "test")}
    )
    assert (
        main(
            [
                "show",
                "mine",
                "--store",
                str(store.root.parent),
                "--out",
                str(tmp_path / "sheets" / "a.png"),
            ]
        )
        == 0
    )
    assert (tmp_path / "sheets" / "a.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "sheets" / "class_shares.csv").open() as stream:
        rows = {(row["part"], row["name"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 8
    shares = {
        name: float(rows["train", name]["share"])
        for name in ("class0", "class1", "class2", "ignored")
    }
    assert shares == {"class0": 0.75, "class1": 0, "class2": 0.25, "ignored": 0}
    with (tmp_path / "sheets" / "statistics.csv").open() as stream:
        assert [float(row["std"]) for row in csv.DictReader(stream)] == [0, 0, 0]


def test_scenes_are_chosen_over_parts_and_conditions(make_store: Callable[..., SceneStore]) -> None:
    weathers = ("cloud", "fog", "night", "rain", "sun")
    scenes = {
        f"{part}/{i}": {
            "split": part,
            "condition_weather": weathers[i % 5],
            "rgb": np.full((3, 8, 8), i, np.uint8),
            "label": np.zeros((1, 8, 8), np.uint8),
        }
        for part, number in (("train", 20), ("val", 10), ("test", 10), ("unused", 5))
        for i in range(number)
    }
    for id_, scene in scenes.items():
        if id_ != "train/7":
            scene["nir"] = np.zeros((1, 8, 8), np.uint8)
    store = make_store(scenes)
    chosen = choose_scenes(store, "split_standard", 6)
    assert chosen == choose_scenes(store, "split_standard", 6)
    assert [scene.splits["split_standard"] for scene in chosen] == ["train"] * 2 + ["val"] * 2 + [
        "test"
    ] * 2
    assert {scene.attributes["weather"] for scene in chosen} == set(weathers)
    assert "train/7" in {scene.id for scene in chosen}  # the one that lacks a raster
    assert len({scene.id for scene in choose_scenes(store, "split_standard", 40)}) == 40


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], ["nowhere", "make data DATA=nowhere"]),
        (["tiny", "--scenes", "one,thre"], ["thre", "did you mean three?", "scenes.csv"]),
        (["tiny", "--split", "split_big"], ["split_big", "split_standard"]),
        (["tiny", "--rows", "0"], ["1 to 40", "not 0"]),
        (["tiny", "--blend", "3"], ["--blend is 3"]),
        (["tiny", "--out", "sheet.jpg"], ["sheet.jpg", ".png"]),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], expected: list[str], tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *words, "--store", str(tiny_stores)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("imss: ") and error.count("\n") == 1
    assert all(text in error for text in expected), error


def test_named_scenes_and_a_damaged_raster(
    make_store: Callable[..., SceneStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb = np.zeros((3, 60, 60), np.uint8)
    store = make_store(
        {id_: {"split": id_, "rgb": rgb, "label": quarters()} for id_ in ("train", "val", "test")}
    )
    words = [
        "show",
        "mine",
        "--store",
        str(store.root.parent),
        "--out",
        str(tmp_path / "a.png"),
        "--scenes",
        "test",
    ]
    store.scenes[0].paths["label"].write_bytes(b"II*\0 no raster any more")
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words[:-2], "--scenes", "train"]) == 2
    error = capsys.readouterr().err
    assert str(store.scenes[0].paths["label"]) in error and error.count("\n") == 1
