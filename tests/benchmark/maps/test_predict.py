"""Maps against networks of single pixels, GDAL's reading of them, and another stitching."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch

from benchmark.__main__ import main
from benchmark.evaluation.inference import predict_all_subsets
from benchmark.experiment import restore
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun, load_trained_run
from benchmark.maps.geotiff import SCRATCH
from benchmark.maps.predict import class_ids, predict_strips
from benchmark.maps.window_grid import sheared_rows
from datamodules.loading.inference_rasters import ModalitySpec, open_scene, parse_inputs
from datamodules.store.part_files import HOST
from datamodules.store.scene_store import Modality, SceneClass
from tests.support.full_disk import files_end_at
from tests.support.placed import PLACE, write
from tests.support.short_run import train_one_step

ROOT = Path(__file__).resolve().parents[3]
IGN = ROOT.parent / "shared" / "samples" / "ign_rgb_nir_dsm"
CLASSES = [
    SceneClass(0, "ground", (200, 160, 110)),
    SceneClass(1, "other", (0, 0, 0), clutter=True),
    SceneClass(2, "roof", (230, 30, 30)),
    SceneClass(3, "tree", (0, 110, 0)),
]
MODALITIES = {
    "rgb": ModalitySpec(
        Modality("rgb", "R", 3, "uint8", "counts", "optical"), [90.0] * 3, [50.0] * 3, False
    ),
    "nir": ModalitySpec(
        Modality("nir", "N", 1, "uint8", "counts", "optical"), [100.0], [60.0], False
    ),
}


class PixelNetwork:
    """Logits of a pixel from that pixel alone; records which modalities it is given."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.given = set[tuple[str, ...]]()

    def sees(self, modalities: list[str]) -> bool:
        return True

    def encode(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return images

    def decode(self, encoded: dict[str, torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        self.given.add(tuple(encoded))
        total = torch.cat(list(encoded.values()), 1).sum(1)
        return torch.stack([total, -total, 0.3 - total * total], 1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> PixelNetwork:
    """What the command loads in place of a run."""
    return use(monkeypatch, "logits")


def use(monkeypatch: pytest.MonkeyPatch, stitching: Any) -> PixelNetwork:
    model: Any = PixelNetwork()
    inputs = Inputs(MODALITIES, CLASSES, [0, 2, 3], 64, 32, stitching)
    trained = TrainedRun(model, inputs, Request("pixels", "toy"))
    monkeypatch.setattr("benchmark.experiment.restore.load_trained_run", lambda *given: trained)
    return model


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """Red, green and blue that say nothing in a corner, near infrared without the lower rows."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(1, 255, (3, 150, 700)).astype(np.uint8)
    nir = rng.integers(1, 255, (1, 150, 700)).astype(np.uint8)
    rgb[:, :90, :80], nir[:, 130:], nir[:, :20, :30] = 0, 0, 0
    paths = write(tmp_path / "rgb.tif", rgb, nodata=0), write(tmp_path / "nir.tif", nir, nodata=0)
    return *paths, np.concatenate([rgb, nir])


def run(out: Path, *words: Any) -> int:
    return main(["predict", "--run", "somewhere", "--out", str(out), "--input", *map(str, words)])


@pytest.mark.parametrize("stitching", ["logits", "probabilities"])
def test_a_network_of_single_pixels_gives_what_it_gives_without_windows(
    stitching: str,
    scene: tuple[Path, Path, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, stitching)
    rgb = scene[2][:3]
    assert run(tmp_path / "map.tif", f"rgb={scene[0]}", "--probabilities", "--stride", "24") == 0
    images = {"rgb": torch.from_numpy((rgb.astype(np.float32) - 90) / np.float32(50))[None]}
    logits = PixelNetwork().decode(images, (150, 700))[0]
    expected = np.array([0, 2, 3], np.uint8)[logits.argmax(0).numpy()]
    nothing = (rgb == 0).all(0)
    expected[nothing] = 255
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected)
    with rasterio.open(tmp_path / "map_probabilities.tif") as file:
        found = file.read()
        assert file.descriptions == ("ground", "roof", "tree") and file.crs.to_epsg() == 2154
    assert np.isnan(found[:, nothing]).all()
    np.testing.assert_allclose(
        found[:, ~nothing], logits.softmax(0).numpy()[:, ~nothing], atol=1e-6
    )


def test_panels_do_not_show(
    network: PixelNetwork,
    scene: tuple[Path, Path, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [f"rgb={scene[0]}", f"nir={scene[1]}"]
    assert run(tmp_path / "one.tif", *words) == 0
    monkeypatch.setattr("benchmark.maps.predict.PANEL", 100)
    assert run(tmp_path / "many.tif", *words) == 0
    with rasterio.open(tmp_path / "one.tif") as one, rasterio.open(tmp_path / "many.tif") as many:
        np.testing.assert_array_equal(one.read(), many.read())


def test_seams_are_counted(
    network: PixelNetwork, scene: tuple[Path, Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that change when all windows move: none for a network of single pixels."""
    trained = restore.load_trained_run(Path())

    def labels(kind: Any, stride: int, shift: int) -> np.ndarray:
        def moved() -> Any:
            for final, places in kind(150 + 64, 700, 64, stride):
                places = [(row + shift, col) for row, col in places if -64 < row + shift < 150]
                yield min(max(final + shift, 0), 150), places

        files = parse_inputs([f"rgb={scene[0]}"], ["rgb", "nir"])
        with open_scene(files, MODALITIES, False) as (rasters, grid):
            pieces = list(predict_strips(trained, rasters, grid, 64, moved))
        return np.concatenate([class_ids(means, [0, 2, 3]) for _, _, means in pieces])

    still = labels(sheared_rows, 48, 0)
    assert (still == labels(sheared_rows, 48, -21)).all() and (still != 255).all()

    def halves(encoded: dict[str, torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Class 0 in the upper half of a window, class 2 in the lower."""
        lower = (torch.arange(size[0]) >= size[0] // 2).float()[:, None].expand(size)
        said = torch.stack([1 - lower, lower, torch.full(size, -9.0)])
        return said.expand(len(encoded["rgb"]), 3, *size)

    monkeypatch.setattr(network, "decode", halves)
    rows = np.arange(150)
    for shift in (0, -32, -21):
        lower = (rows - shift) % 64 >= 32
        found = labels(sheared_rows, 64, shift)
        np.testing.assert_array_equal(found == 2, lower[:, None].repeat(700, 1))


def test_holes_of_one_modality_are_filled_and_of_all_are_nodata(
    network: PixelNetwork,
    scene: tuple[Path, Path, np.ndarray],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmark.tracking.progress.PLAIN_S", -1.0)
    assert run(tmp_path / "map.tif", f"nir={scene[1]}", f"rgb={scene[0]}", "--stride", "16") == 0
    # one window lies in the corner without colours
    assert network.given == {("rgb", "nir")}
    filled = scene[2].astype(np.float32)
    for band in filled:
        band[band == 0] = np.quantile(band[band > 0], 0.05, method="inverted_cdf")
    images = {"rgb": (filled[:3] - 90) / np.float32(50), "nir": (filled[3:] - 100) / np.float32(60)}
    tensors = {name: torch.from_numpy(image)[None] for name, image in images.items()}
    expected = np.array([0, 2, 3], np.uint8)[network.decode(tensors, (150, 700))[0].argmax(0)]
    expected[(scene[2] == 0).all(0)] = 255
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected)
        assert file.tags()["MODALITIES"] == "R+N"
    said = capsys.readouterr().out
    assert "600 px without input" in said and "100 % 0 s left" in said


def test_a_network_that_says_nothing_finite_makes_no_map(
    network: PixelNetwork,
    scene: tuple[Path, Path, np.ndarray],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def diverged(encoded: dict[str, torch.Tensor], size: Any) -> torch.Tensor:
        return torch.full((len(encoded["rgb"]), 3, 64, 64), torch.nan)

    monkeypatch.setattr(network, "decode", diverged)
    assert run(tmp_path / "out" / "map.tif", f"rgb={scene[0]}") == 2
    assert "logits are not finite" in one_line(capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_map_is_a_cloud_optimised_geotiff_with_palette_and_names(
    network: PixelNetwork, scene: tuple[Path, Path, np.ndarray], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "map.tif"
    assert run(out, f"rgb={scene[0]}") == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["map.tif", "map.tif.aux.xml"]
    with rasterio.open(out) as file:
        assert (file.crs.to_epsg(), file.transform, file.nodata, file.dtypes) == (
            2154,
            PLACE,
            255,
            ("uint8",),
        )
        palette = file.colormap(1)
        assert [palette[entry.id] for entry in CLASSES] == [
            (*entry.color, 255) for entry in CLASSES
        ]
        assert palette[255][3] == 0 and file.tags(1)["CLASS_2"] == "roof"
        # the rules of a cloud-optimised GeoTIFF: tiles, overviews, all directories before all
        # pixels, small ones first
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.block_shapes == [(512, 512)] and file.overviews(1) == [2]
        full = int(
            file.tags(1, ns="TIFF").get("IFD_OFFSET")
            or file.get_tag_item("IFD_OFFSET", "TIFF", bidx=1)
        )
        first = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        small = int(file.get_tag_item("IFD_OFFSET", "TIFF", bidx=1, ovr=0))
        small_first = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=0))
    assert full < small < small_first < first and full < 300
    rasterio.shutil.copy(
        out, tmp_path / "names.vrt", driver="VRT"
    )  # GDAL's own reading of the side file
    names = [entry.text for entry in ElementTree.parse(tmp_path / "names.vrt").iter("Category")]
    assert names == ["ground", "other", "roof", "tree"]


@pytest.mark.parametrize(
    ("failure", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 2)]
)
def test_what_is_not_finished_leaves_nothing(
    failure: BaseException,
    status: int,
    network: PixelNetwork,
    scene: tuple[Path, Path, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    windows = iter(range(3))

    def fails(encoded: dict[str, torch.Tensor], size: Any) -> Any:
        if next(windows, None) is None:
            raise failure
        return torch.zeros(len(encoded["rgb"]), 3, 64, 64)

    monkeypatch.setattr(network, "decode", fails)
    assert run(tmp_path / "out" / "map.tif", f"rgb={scene[0]}") == status
    assert list((tmp_path / "out").iterdir()) == []
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and (
        "starts again" in error or "could not be written whole" in error
    )


def one_line(capsys: Any) -> str:
    error = capsys.readouterr().err
    assert error.startswith("imss: ") and error.count("\n") == 1, error
    return error


def test_places_that_cannot_be_written(
    network: PixelNetwork, scene: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Any
) -> None:
    word = f"rgb={scene[0]}"
    assert run(tmp_path, word) == 2
    assert "is a folder: name a file in it" in one_line(capsys)
    assert run(scene[0] / "map.tif", word) == 2
    assert "cannot be written" in one_line(capsys)
    before = scene[0].read_bytes()
    assert run(scene[0], word) == 2
    assert "is an input of this map" in one_line(capsys) and scene[0].read_bytes() == before
    assert run(tmp_path / "map.tif", word, "--stride", "65") == 2
    assert "must lie between 1 and the window of 64 px" in one_line(capsys)


def test_a_full_disk_and_a_killed_process_leave_nothing(
    network: PixelNetwork, scene: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / "out"
    gone, alive = subprocess.Popen(["true"]), os.getppid()
    gone.wait()
    for process in (gone.pid, alive):
        (folder / f"{SCRATCH}.{HOST}.{process}.part").mkdir(parents=True)
        (folder / f"{SCRATCH}.{HOST}.{process}.part" / "map.raw.tif").touch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # less than the head of the raw map, and less than its first tile
    for limit in (2000, 200_000):
        with files_end_at(limit):
            assert run(folder / "map.tif", f"rgb={scene[0]}", "--probabilities") == 2
        assert "could not be written whole" in one_line(capsys)
        assert [path.name for path in folder.iterdir()] == [f"{SCRATCH}.{HOST}.{alive}.part"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    assert run(folder / "map.tif", f"rgb={scene[0]}", "--probabilities") == 0


@pytest.fixture(scope="module")
def trained_run(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of training on the tiny store, in windows of the size of its smallest scene."""
    runs = tmp_path_factory.mktemp("runs")
    return train_one_step(tiny_stores, runs, "control_dropout", window=33, batch=1)


def test_a_run_maps_without_its_store_what_it_scores_with_it(
    trained_run: Path, tiny_source: Path, tmp_path: Path, capsys: Any
) -> None:
    """Windows side by side: `make picture`, which reads the store, sees the same labels."""
    run = load_trained_run(trained_run)
    side = ["--stride", str(run.data.window)]
    (scene,) = (entry for entry in run.data.splits["test"] if entry.id == "five")
    expected, _ = predict_all_subsets(run.model, run.data, scene)
    moved = tmp_path / "elsewhere"
    shutil.copytree(trained_run, moved)
    config = moved / "config.json"
    config.write_text(config.read_text().replace(str(run.request.store), str(tmp_path / "gone")))
    for subset, names in {
        "R+D+N": ["rgb", "dsm", "nir"],
        "D+N": ["dsm", "nir"],
        "N": ["nir"],
    }.items():
        words = [f"{name}={tiny_source / f'five_{name}.tif'}" for name in names]
        out = tmp_path / f"{subset}.tif"
        assert (
            main(["predict", "--run", str(moved), "--out", str(out), *side, "--input", *words]) == 0
        )
        with rasterio.open(out) as file:
            np.testing.assert_array_equal(file.read(1), expected[subset])
    capsys.readouterr()
    again = ["predict", "--run", str(moved), "--out", str(tmp_path / "old.tif"), *side]
    again += ["--input", *words]
    (moved / INPUTS).write_text("{}")
    assert main(again) == 2
    assert "inputs.json cannot be read" in one_line(capsys)
    shutil.rmtree(moved / "checkpoints")
    assert main(again) == 2
    assert "has no checkpoint" in one_line(capsys)
    assert main(["predict", "--run", str(tmp_path), "--out", str(out), "--input", *words]) == 2
    assert "is no run directory" in one_line(capsys)


def test_inputs_survive_their_file(trained_run: Path) -> None:
    run = load_trained_run(trained_run)
    inputs = Inputs.of(run.data, "probabilities")
    assert Inputs.from_json(inputs.to_json()) == inputs
    data = SimpleNamespace(**{layer.name: layer.normalizer for layer in run.data.layers})
    for name, entry in inputs.modalities.items():
        fresh, kept = (
            entry.normalizer_for({"p05": [7.0] * entry.modality.channels}, "x"),
            getattr(data, name),
        )
        assert np.array_equal(fresh.mean, kept.mean) and np.array_equal(fresh.std, kept.std)
        assert bool(fresh.offsets) == (name == "dsm") and fresh.kind == kept.kind


@pytest.mark.skipif(not IGN.exists(), reason="the real scenes are not part of this repository")
def test_real_scene_from_two_of_three_modalities(network: PixelNetwork, tmp_path: Path) -> None:
    """Near infrared is the first band of three, whose nodata tag would blank overexposed pixels."""
    files = f"rgb={IGN}/original/scene_a_rgb.tif", f"nir={IGN}/original/scene_a_irc.tif:1"
    out = tmp_path / "map.tif"
    assert run(out, *files, "--ignore-nodata") == 0
    with rasterio.open(out) as file, rasterio.open(IGN / "original" / "scene_a_rgb.tif") as source:
        assert (file.crs, file.transform, file.shape) == (
            source.crs,
            source.transform,
            source.shape,
        )
        assert (file.read(1) != 255).all()
    assert run(out, files[0]) == 0
    with rasterio.open(out) as file, rasterio.open(IGN / "original" / "scene_a_rgb.tif") as source:
        np.testing.assert_array_equal(file.read(1) == 255, (source.read() == 255).all(0))
