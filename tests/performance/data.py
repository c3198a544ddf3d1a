"""`make speed`, the parts about data: importing large scenes, reading frames that stay where the
user keeps them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmark.choices import ROOT
from benchmark.profiling.cost import time_interleaved

SIDE = 6000
LAYERS = {"rgb": (3, "uint8"), "nir": (1, "uint8"), "dsm": (1, "float32"), "label": (1, "uint8")}


def imports(rounds: int) -> None:
    """Import of 6000 x 6000 scenes with four rasters against copying the bytes it writes, and its
    memory.
    """
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder)
        _write_scenes(place / "source", 2)
        best: dict[str, float] = {}
        peak = 0.0
        for _ in range(rounds):
            for workers in (1, 2):
                shutil.rmtree(place / "store", ignore_errors=True)
                words = [
                    sys.executable,
                    "-c",
                    f"from tests.performance.data import import_here as f; f({workers})",
                ]
                found = json.loads(
                    subprocess.run(
                        [*words, folder], check=True, cwd=ROOT, capture_output=True
                    ).stdout
                )
                name = f"{workers} processes"
                best[name] = min(best.get(name, np.inf), found["seconds"])
                peak = max(peak, found["peak_gb"])
            best["copy"] = min(
                best.get("copy", np.inf), _timed(lambda: _copy(place / "store", place / "copy"))
            )
        written = sum(path.stat().st_size for path in (place / "store").rglob("*.tif"))
    one, two, copy = best["1 processes"], best["2 processes"], best["copy"]
    print(
        f"  2 scenes of {SIDE} x {SIDE} px, four rasters each, {written / 1e6:.0f} MB written: "
        f"{one:.2f} s in one "
        f"process, {one / copy:.1f} times copying these bytes and flushing them ({copy:.2f} s; "
        f"limit 8); {two:.2f} s "
        f"({two / copy:.1f} times) in two; peak of one process {peak:.2f} GB (limit 1.5 GB)"
    )


def import_here(workers: int) -> None:
    """The work of `imports`, in a process of its own: prints its seconds, start of the interpreter
    excluded.
    """
    import resource

    from rich.console import Console

    from datamodules.adapters.registry import import_named_dataset

    place = Path(sys.argv[1])
    quiet = Console(file=io.StringIO())
    seconds = _timed(
        lambda: import_named_dataset(
            "folder", place / "source", place / "store", workers=workers, console=quiet
        )
    )
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"seconds": seconds, "peak_gb": peak * 1024 / 1e9}))


def _write_scenes(root: Path, number: int) -> None:
    """Write scenes as strips without compression, as many downloads come: decoding them costs
    little.
    """
    from datamodules.miniature.raster_io import write_raster

    rng = np.random.default_rng(0)
    rows = ["id,split,label,rgb,nir,dsm"]
    for scene in range(number):
        for name, (bands, dtype) in LAYERS.items():
            pixels = rng.integers(
                0, 5 if name == "label" else 255, (bands, SIDE, SIDE), np.uint8
            ).astype(dtype)
            write_raster(root / f"{scene}_{name}.tif", pixels)
        part = "test" if scene else "train"
        rows.append(
            f"s{scene},{part},{scene}_label.tif,{scene}_rgb.tif,{scene}_nir.tif,{scene}_dsm.tif"
        )
    (root / "scenes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    classes = [f"{number},class{number},{40 * number},0,0" for number in range(5)]
    (root / "classes.csv").write_text(
        "\n".join(["id,name,r,g,b", *classes]) + "\n", encoding="utf-8"
    )


def _copy(store: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for path in store.rglob("*.tif"):
        copied = target / path.relative_to(store)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
        with copied.open("rb+") as stream:
            os.fsync(stream.fileno())  # as the import does: a copy in memory only is no copy


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def frame(rounds: int) -> None:
    """Reading a whole DELIVER frame from the store against decoding its PNG files and doing nothing
    else.
    """
    from PIL import Image
    from rich.console import Console

    from datamodules.adapters.registry import import_named_dataset
    from datamodules.miniature.registry import MINIATURES
    from datamodules.store.reader import RasterReader, Window

    deliver = MINIATURES["deliver_miniature"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        deliver.write_source(place / "source", "real")
        quiet = Console(file=io.StringIO())
        store = import_named_dataset(
            "deliver", place / "source", place, tiles=deliver.scene_ids("real"), console=quiet
        )
        names = ["rgb", "depth", "event", "lidar"]
        scene = next(
            s
            for s in store.scenes
            if all(not s.paths[name].is_relative_to(store.root) for name in names)
        )
        paths = [scene.paths[name] for name in names]

        def from_store() -> None:
            reader, window = (
                RasterReader(),
                Window(0, 0, scene.height, scene.width),
            )  # new: handles keep what they read
            for name in names:
                reader.read(scene.paths[name], window, store.modalities[name].channels)
            reader.read(scene.paths["label"], window, 1)

        def decoding() -> None:
            for path in paths:
                with Image.open(path) as image:
                    np.asarray(image)

        seconds = time_interleaved({"store": from_store, "png": decoding}, rounds * 5)
    print(
        f"  DELIVER frame of {scene.height} x {scene.width} px, four modalities and the label: "
        f"{1000 * seconds['store']:.1f} ms, {seconds['store'] / seconds['png']:.2f} times decoding "
        f"the four PNG files "
        f"with Pillow ({1000 * seconds['png']:.1f} ms; limit 1.3)"
    )
