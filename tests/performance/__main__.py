"""`make speed`: measures the suite itself and prints ratios.

Variants that are compared run in turn within one process, and the minimum over the rounds counts:
on a shared machine medians of ratios wander by a factor of ten.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmark.choices import ROOT
from benchmark.metrics.subsets import modality_subsets
from benchmark.profiling.cost import resolve_device, time_interleaved
from tests.performance import damage, data, device, graphs, maps, report, subsets, threads
from usererror import UserError


def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen parts."""
    parts: dict[str, Callable[[int], None]] = {
        "subsets": subsets.sgma, "methods": subsets.methods, "store": store, "import": data.imports,
        "frame": data.frame, "step": step, "memory": memory, "maps": maps.command,
        "threads": threads.beside, "damage": damage.rmm, "graphs": graphs.parity,
        "report": report.load, "device": device.part,
    }  # fmt: skip
    on_device = {"device": device.part, "step": step, "damage": damage.rmm}
    parser = argparse.ArgumentParser(
        prog="make speed",
        description="Measure the suite itself; prints ratios.",
        allow_abbrev=False,
    )
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved repetitions; minimums count"
    )
    parser.add_argument("--device", help=f"cpu or cuda, for {' and '.join(on_device)}")
    arguments = parser.parse_args(argv)
    if arguments.device:
        try:
            resolve_device(arguments.device)
        except UserError as error:
            parser.error(str(error))
        for name, part in on_device.items():
            parts[name] = partial(part, device=arguments.device)
    import torch

    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, minimum of "
        f"{arguments.rounds} rounds"
    )
    for name in arguments.parts or (on_device if arguments.device else parts):
        print(f"\n{name}")
        parts[name](arguments.rounds)


def store(rounds: int) -> None:
    """Crops of four rasters from the store, from a NumPy memory map, and by reading whole tiles."""
    import rasterio

    from datamodules.loading.windows import random_window
    from datamodules.store.reader import RasterReader, Window

    side, crop, crops = 6000, 512, 64
    layers = {
        "rgb": (3, "uint8"),
        "nir": (1, "uint8"),
        "dsm": (1, "float32"),
        "label": (1, "uint8"),
    }
    with tempfile.TemporaryDirectory() as folder:
        maps, paths = {}, {}
        for name, (bands, dtype) in layers.items():
            pixels = (
                np.random.default_rng(0)
                .integers(0, 255, (bands, side, side), np.uint8)
                .astype(dtype)
            )
            paths[name] = Path(folder) / f"{name}.tif"
            profile = dict(
                driver="GTiff", width=side, height=side, count=bands, dtype=dtype, tiled=True
            )
            with rasterio.open(paths[name], "w", blockxsize=256, blockysize=256, **profile) as file:
                file.write(pixels)
            np.save(Path(folder) / name, pixels)
            maps[name] = np.load(Path(folder) / f"{name}.npy", mmap_mode="r")
        del pixels
        rng = np.random.default_rng(1)
        places = [random_window(rng, side, side, crop) for _ in range(crops)]
        reader, whole = RasterReader(), Window(0, 0, side, side)

        def from_store() -> None:
            for place in places:
                for path in paths.values():
                    reader.read(path, place)

        def from_map() -> None:
            for row, col, height, width in places:
                for pixels in maps.values():
                    np.array(pixels[:, row : row + height, col : col + width])

        def from_tiles() -> None:
            for path in paths.values():
                RasterReader().read(path, whole)

        seconds = time_interleaved(
            {"store": from_store, "map": from_map, "tiles": from_tiles}, rounds
        )
    each, mapped = seconds["store"] / crops, seconds["map"] / crops
    print(
        f"  {crop} px crop of four rasters of a {side} px scene: store {1000 * each:.2f} ms (limit "
        f"1.5 ms), "
        f"{1 / each:.0f} crops/s; {each / mapped:.2f} times a memory map (limit 2.5); "
        f"reading whole tiles takes {seconds['tiles'] / each:.0f} times as long"
    )


def step(rounds: int, device: str = "cpu") -> None:
    """Share of a training step that is spent waiting for data, on the miniature."""
    import torch
    from lightning.fabric.utilities import move_data_to_device

    from benchmark.choices import DEFAULT_STORE
    from datamodules.base import SceneDataModule
    from datamodules.prepare import ensure_store
    from methods.sgma.module import SGMA

    ensure_store("miniature", Path(DEFAULT_STORE))
    data = SceneDataModule(
        "miniature", DEFAULT_STORE, ["rgb", "dsm", "nir"], window=128, batch_size=8
    )
    model = SGMA(data.channels, data.num_classes, backbone="pvt_v2_b0", pretrained=False)
    model.to(resolve_device(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    waited = worked = 0.0
    steps = 0
    loader = data.train_dataloader()
    for epoch in range(rounds):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        batches = iter(loader)
        next(batches)  # the first batch of an epoch has no step to hide behind
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            arrived = time.perf_counter()
            optimizer.zero_grad()
            batch = move_data_to_device(batch, model.device)
            model.weighted_sum(model.training_losses(batch)).backward()
            optimizer.step()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            waited, worked, steps = (
                waited + arrived - started,
                worked + time.perf_counter() - arrived,
                steps + 1,
            )
    print(
        f"  SGMA, PVT-v2-b0, 128 px, batch 8, {model.device}: {steps} steps of "
        f"{1000 * (waited + worked) / steps:.0f} ms, "
        f"{100 * waited / (waited + worked):.2f} % of it waiting for data (limit 5 %)"
    )


def memory(rounds: int) -> None:
    """Peak memory of evaluating a wide scene and a DELIVER frame, each in a fresh process."""
    for what in ("wide", "frame"):
        words = [
            sys.executable,
            "-c",
            f"from tests.performance.__main__ import memory_here; memory_here({what!r})",
        ]
        subprocess.run(words, check=True, cwd=ROOT)


def memory_here(what: str) -> None:
    """The work of `memory`; the peak is that of the whole process."""
    if what == "wide":  # a strip of a scene of 6000 px, half-overlapping windows
        names, scene, side, stride, together, classes = (
            ["rgb", "dsm", "nir"],
            (1536, 6000),
            512,
            256,
            4,
            6,
        )
        remark = (
            "Held are the rows a later window can touch, so the peak stops growing after the "
            "second band of windows "
            "and does not depend on the height of the scene; it grows with its width."
        )
    else:
        names, scene, side, stride, together = (
            ["rgb", "depth", "event", "lidar"],
            (1042, 1042),
            1056,
            528,
            1,
        )
        classes, remark = 25, "The frame is one window."
    peaks = _peaks(names, scene, side, stride, together, classes)
    found = ", ".join(f"{peak:.2f} GB at row {row}" for row, peak in peaks.items())
    print(
        f"  {scene[0]} x {scene[1]} px, {len(names)} modalities, {classes} classes, "
        f"{2 ** len(names) - 1} subsets, "
        f"PVT-v2-b0, windows of {side} px, {together} at a time: peak {found} (limit 3 GB). "
        f"{remark}"
    )


def _peaks(
    names: list[str], scene: tuple[int, int], side: int, stride: int, together: int, classes: int
) -> dict[int, float]:
    """Peak memory in GB after each row of windows, by the row they start at."""
    import torch

    from benchmark.evaluation.protocol import clip_to_scene
    from benchmark.evaluation.subset_confusion import SceneWindows, SubsetConfusion
    from datamodules.loading.windows import covering_windows
    from methods.sgma.module import SGMA

    model = SGMA(dict.fromkeys(names, 3), classes, backbone="pvt_v2_b0", pretrained=False).eval()
    everything = modality_subsets(names)
    places = [clip_to_scene(window, *scene) for window in covering_windows(*scene, side, stride)]
    subsets = ["+".join(subset) for subset in everything]
    confusion = SubsetConfusion(subsets, classes, classes, [SceneWindows(*scene, places)])
    peaks: dict[int, float] = {}
    with torch.inference_mode():
        rows = [list(row) for _, row in groupby(places, key=lambda place: place[0])]
        # as the evaluation loader does, a batch stays within one row of windows
        for batch in (
            row[start : start + together] for row in rows for start in range(0, len(row), together)
        ):
            images = {name: torch.randn(len(batch), 3, side, side) for name in names}
            masks = torch.randint(0, classes, (len(batch), side, side))
            encoded = model.encode(images)
            logits = (
                ("+".join(subset), model.decode({m: encoded[m] for m in subset}, (side, side)))
                for subset in everything
            )
            confusion.update(logits, masks, None, [0] * len(batch), batch)
            peaks[batch[-1][0]] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return peaks


if __name__ == "__main__":
    main()
