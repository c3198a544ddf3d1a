from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.registry import ADAPTERS, import_named_dataset, load_adapter
from datamodules.ingest import raster_writer as rasters
from datamodules.ingest.sources import SourceIndex
from datamodules.store.scene_store import SceneStore
from usererror import UserError

HOUSE = Path(__file__).parents[3]


def load(source, tmp_path, store="store", **options):
    return import_named_dataset("mine", source, tmp_path / store, **options)


def run_script(
    code: str, source: Path, store: Path, *more: object
) -> subprocess.CompletedProcess[str]:
    """Run an import in a process of its own, to kill or to starve it."""
    text = (
        "import sys\nfrom pathlib import Path\n"
        "from datamodules.adapters.registry import import_named_dataset\n"
        f"from usererror import UserError\n{code}\n"
        "try:\n    import_named_dataset('mine', Path(sys.argv[1]), Path(sys.argv[2]), workers=1)\n"
        "except UserError as error:\n    print('error:', error)\n    sys.exit(2)\n"
    )
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text, str(source), str(store), *map(str, more)],
        cwd=HOUSE,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_adapters_load_by_name():
    for name in ADAPTERS:
        adapter = load_adapter(name)
        assert adapter.name == name and len(adapter.obtain) > 80
    with pytest.raises(UserError, match="known are .*folder.*potsdam"):
        load_adapter("postdam")


# -- what is recorded


def test_statistics_are_those_of_the_pixels(tmp_path, write_folder):
    truth = write_folder(tmp_path / "source")
    store = load(tmp_path / "source", tmp_path)
    for scene, layers in truth.items():
        for raster in ("rgb", "dsm"):
            values = layers[raster].reshape(len(layers[raster]), -1).astype(np.float64)
            found = store.statistics[scene][raster]
            assert found["count"] == values.shape[1]
            expected = {
                "mean": values.mean(1), "std": values.std(1),
                "min": values.min(1), "max": values.max(1),
                "p05": np.percentile(values, 5, axis=1, method="inverted_cdf"),
                "p95": np.percentile(values, 95, axis=1, method="inverted_cdf"),
            }  # fmt: skip
            for key, value in expected.items():
                np.testing.assert_allclose(
                    found[key], value, rtol=1e-9, err_msg=f"{scene} {raster} {key}"
                )
        counts = store.statistics[scene]["label"]["counts"]
        assert counts == {str(i): int((layers["label"] == i).sum()) for i in (0, 1, 2, 255)}


def test_blocks_of_rows_do_not_show(tmp_path, write_folder, write_raster, pixels, monkeypatch):
    """Scenes that end inside, at and after a block; heights two pixels short or long."""
    monkeypatch.setattr(rasters, "ROWS", 256)
    monkeypatch.setattr(rasters, "REFERENCE_SIDE", 0)
    for height in (255, 256, 257, 513):
        source = tmp_path / f"source{height}"
        truth = write_folder(source, height=height, splits=("train", "test"))
        plain = load(source, tmp_path, f"plain{height}")
        assert all(
            path.is_relative_to(plain.root)
            for scene in plain.scenes
            for path in scene.paths.values()
        )
        assert (pixels(plain.scenes[0].paths["rgb"]) == truth["s0"]["rgb"]).all()
        for raster in ("dsm", "label"):
            write_raster(source / raster / "s0.tif", truth["s0"][raster][:, :-1])
            with pytest.raises(UserError, match=rf"{raster}/s0.tif has {height - 1} x 50 pixels"):
                load(source, tmp_path, f"short_{raster}{height}")
            write_raster(source / raster / "s0.tif", truth["s0"][raster])


def test_the_fingerprint_is_that_of_the_content(tmp_path, source, monkeypatch):
    first = load(source, tmp_path).fingerprint
    moved = shutil.move(source, tmp_path / "elsewhere")
    monkeypatch.setattr(rasters, "REFERENCE_SIDE", 0)  # copied, not referenced
    assert load(moved, tmp_path, "copied").fingerprint == first
    table = (Path(moved) / "scenes.csv").read_text()
    (Path(moved) / "scenes.csv").write_text(table.replace("s1,val", "s1,train"))
    assert load(moved, tmp_path, "other").fingerprint != first


def test_written_rasters_are_tiled_plain_and_keep_their_place(
    tmp_path, source, write_raster, monkeypatch
):
    import rasterio
    from rasterio.transform import from_origin

    monkeypatch.setattr(rasters, "REFERENCE_SIDE", 0)
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    write_raster(
        source / "rgb/s0.tif",
        values,
        crs="EPSG:32633",
        transform=from_origin(366976.5, 5809761, 0.2, 0.2),
    )
    store = load(source, tmp_path)
    with rasterio.open(store.scenes[0].paths["rgb"]) as dataset:
        assert dataset.block_shapes == [(256, 256)] * 3 and dataset.compression is None
        assert dataset.crs.to_epsg() == 32633 and dataset.transform.e == -0.2
    with rasterio.open(store.scenes[0].paths["label"]) as dataset:
        assert dataset.dtypes == ("uint8",)
        assert dataset.colormap(1)[1] == (200, 30, 30, 255)
    assert store.info["gsd_m"] == 0.2


def test_voids_of_every_type_reach_the_network_as_nan_does(
    tmp_path, write_folder, write_raster, monkeypatch
):
    """One scene with holes, as NaN, as tagged numbers, as fills without a tag, and under a mask."""
    from datamodules.base import SceneDataModule

    monkeypatch.setattr(rasters, "ROWS", 16)
    truth = write_folder(tmp_path / "source")["s2"]["dsm"].round()
    hole = np.zeros_like(truth, bool)
    hole[:, 10:30, 10:30] = True
    forms = {
        "nan": (np.float32, np.nan, {}),
        "short": (np.int16, -32768, {"nodata": -32768}),
        "bytes": (np.uint8, 0, {"nodata": 0}),
        "fill": (np.float32, 3.4028234663852886e38, {}),
        "untagged": (np.int16, -9999, {}),
    }
    inputs = {}
    for name, (dtype, void, tags) in forms.items():
        values = truth.astype(dtype)
        values[hole] = void
        for scene in ("s0", "s1", "s2"):
            write_raster(tmp_path / "source" / "dsm" / f"{scene}.tif", values, **tags)
        store = load(tmp_path / "source", tmp_path, name)
        assert store.statistics["s2"]["dsm"]["count"] == 40 * 50 - 400
        assert any(text.startswith("dsm: 20.00 %") for text in store.info["warnings"])
        sizes = {"window": 32, "batch_size": 1, "num_workers": 0}
        data = SceneDataModule("mine", str(store.root.parent), **sizes)
        inputs[name] = data.evaluation_windows("test")[0, 0]["image"]["dsm"].numpy()
    for name in forms:
        np.testing.assert_array_equal(inputs[name], inputs["nan"])


def test_other_voids_are_another_fingerprint(tmp_path, write_folder, write_raster, pixels):
    truth = write_folder(tmp_path / "source")["s0"]["rgb"]
    plain = load(tmp_path / "source", tmp_path, "plain")
    truth[:, :3] = 7
    write_raster(tmp_path / "source" / "rgb" / "s0.tif", truth)
    filled = load(tmp_path / "source", tmp_path, "filled")
    write_raster(tmp_path / "source" / "rgb" / "s0.tif", truth, nodata=7)
    tagged = load(tmp_path / "source", tmp_path, "tagged")
    wrong = load(tmp_path / "source", tmp_path, "wrong", ignore_nodata=["rgb"])
    assert len({store.fingerprint for store in (plain, filled, tagged)}) == 3
    assert wrong.fingerprint == filled.fingerprint
    assert wrong.info["ignored_nodata"] == ["rgb"] and filled.info["ignored_nodata"] == []


# -- resuming


def test_a_complete_store_is_left_alone(tmp_path, source, capsys):
    store = load(source, tmp_path)
    before = {
        path: path.stat().st_mtime_ns
        for path in store.root.rglob("*")
        if path.name != "import.lock"
    }
    capsys.readouterr()
    assert load(source, tmp_path).fingerprint == store.fingerprint
    assert "is complete" in "".join(capsys.readouterr())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    shutil.rmtree(source / "label")  # the source may go once its labels are in the store
    assert load(source, tmp_path).fingerprint == store.fingerprint


def test_a_changed_source_restarts_what_changed(tmp_path, source, write_raster, pixels):
    store = load(source, tmp_path)
    label = store.root / "rasters" / "s{}" / "label.tif"
    before = {i: Path(str(label).format(i)).stat().st_mtime_ns for i in range(3)}
    write_raster(source / "label/s1.tif", np.ones((1, 40, 50), np.uint8))
    changed = load(source, tmp_path)
    assert changed.fingerprint != store.fingerprint
    assert (pixels(changed.scenes[1].paths["label"]) == 1).all()
    after = {i: Path(str(label).format(i)).stat().st_mtime_ns for i in range(3)}
    assert [i for i in range(3) if after[i] != before[i]] == [1]


def test_force_does_everything_again(tmp_path, source):
    store = load(source, tmp_path)
    path = store.scenes[0].paths["label"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")  # same size: the journal cannot tell
    assert len(store.verify()) == 1
    assert load(source, tmp_path, force=True).verify() == []


def test_other_tiles_are_another_import(tmp_path, source):
    assert len(load(source, tmp_path).scenes) == 3
    assert [scene.id for scene in load(source, tmp_path, tiles=["s0", "s2"]).scenes] == ["s0", "s2"]
    assert not (tmp_path / "store/mine/rasters/s1/label.tif").exists()
    assert len(load(source, tmp_path).scenes) == 3


@pytest.mark.parametrize(
    "where", ["between two rasters", "before the rename", "before dataset.json"]
)
def test_a_killed_import_resumes(where, tmp_path, source):
    code = (
        "import os, signal\nimport datamodules.ingest.journal as j\n"
        "import datamodules.ingest.tiff_writer as r, datamodules.ingest.importer as i\n"
        + {
            "between two rasters": (
                "add, seen = j.Journal.add_result, []\n"
                "def stop(self, *a):\n    add(self, *a)\n    seen.append(1)\n"
                "    if len(seen) == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
                "j.Journal.add_result = stop"
            ),
            "before the rename": "r._reads_back = lambda *a: os.kill(os.getpid(), signal.SIGKILL)",
            "before dataset.json": "i._prune = lambda *a: os.kill(os.getpid(), signal.SIGKILL)",
        }[where]
    )
    assert run_script(code, source, tmp_path / "store").returncode == -9
    root = tmp_path / "store" / "mine"
    with pytest.raises(UserError, match=re.escape(f"make data DATA=mine SOURCE={source}")):
        SceneStore.open(root)
    done = {path: path.stat().st_mtime_ns for path in root.rglob("*.tif")}
    assert (
        len(done)
        == {"between two rasters": 2, "before the rename": 0, "before dataset.json": 3}[where]
    )
    store = load(source, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in done} == done  # not done twice
    assert not list(root.rglob("*.part")) and not (root / "scratch").exists()
    assert store.verify() == []
    assert store.fingerprint == load(source, tmp_path, "uninterrupted").fingerprint


def test_a_journal_line_cut_short_is_no_harm(tmp_path, source):
    store = load(source, tmp_path)
    (store.root / "dataset.json").unlink()
    journal = store.root / "import.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    assert load(source, tmp_path).fingerprint == store.fingerprint


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="limits on file sizes exist on POSIX systems only"
)
@pytest.mark.parametrize("limit", [30_000, 66_500, 60_000])
def test_a_full_disk(limit, tmp_path, source):
    """A label takes 64 KiB and a header: cut in the header, in the pixels, near the end."""
    code = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    run = run_script(code, source, tmp_path / "store")
    assert run.returncode == 2, run.stderr
    assert re.search(r"error: \S+label\.tif could not be written whole .* make room", run.stdout)
    assert "Traceback" not in run.stderr
    assert not list((tmp_path / "store").rglob("*.tif")) and not list(
        (tmp_path / "store").rglob("*.part")
    )
    with pytest.raises(UserError, match="was not finished"):
        SceneStore.open(tmp_path / "store" / "mine")
    assert load(source, tmp_path).fingerprint == load(source, tmp_path, "other").fingerprint


def test_several_processes_give_the_same_store(tmp_path, source, write_raster):
    serial = load(source, tmp_path, workers=1)
    assert load(source, tmp_path, "parallel", workers=2).fingerprint == serial.fingerprint
    (source / "label/s1.tif").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"s1\.tif is no TIFF"):
        load(source, tmp_path, "broken", workers=2)
    with pytest.raises(UserError, match="workers is 0"):
        load(source, tmp_path, "none", workers=0)


def test_two_imports_at_once_do_the_work_once(tmp_path, source):
    stores = []
    threads = [
        threading.Thread(target=lambda: stores.append(load(source, tmp_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.fingerprint for store in stores}) == 1 and len(stores) == 3
    lines = (stores[0].root / "import.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 9


def test_choice_among_copies(tmp_path):
    root = tmp_path / "source"
    for name, content in {
        "deep/er/complete/x_1.bin": b"a", "deep/er/complete/x_2.bin": b"a", "part/x_1.bin": b"bb",
        "one/x_3.bin": b"c",
        "longer/x_3.bin": b"c",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("x_3.bin", b"c")
    index = SourceIndex(root, tmp_path / "scratch")
    chosen = index.find_files(re.compile(r"x_(\d)\.bin$"), lambda match: int(match[1]))
    assert {key: file.rel for key, file in chosen.items()} == {
        1: "deep/er/complete/x_1.bin", 2: "deep/er/complete/x_2.bin", 3: "one/x_3.bin"
    }  # fmt: skip
    assert len(index.warnings) == 1 and "part/x_1.bin (2 bytes)" in index.warnings[0]
    assert chosen[3].read_bytes() == b"c"


def test_the_store_inside_the_source_is_not_read_again(tmp_path, source):
    first = load(source, source)
    assert load(source, source, force=True).fingerprint == first.fingerprint


def test_journal_header_names_the_source(tmp_path, source):
    store = load(source, tmp_path)
    header = json.loads((store.root / "import.jsonl").read_text().splitlines()[0])
    assert header["source"] == str(source) and header["adapter"] == "folder"
